#!/usr/bin/env bash
# What continuous integration runs: style, types, tests. Arguments go to pytest:
#
#   launch/test.sh                      the default suite (neither slow nor gpu)
#   launch/test.sh -m slow              the slow tests
#   launch/test.sh tests/agent -k loop  some of them
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

launch/setup.sh
export PATH="$PWD/.venv/bin:$PATH"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" # the models of the tests are small: threads only get in each other's way
export RAY_worker_niceness=0                   # else the actors of one test wait for the arithmetic of the other
export PYRIGHT_PYTHON_IGNORE_WARNINGS=1        # no advice to upgrade: the version is pinned

echo "test: ruff" >&2
ruff check .
ruff format --check .
echo "test: pyright, beside pytest; two files at a time" >&2
findings=$(mktemp)
trap 'rm -f "$findings"' EXIT
pyright >"$findings" 2>&1 &
types=$!
code=0
pytest -n 2 --dist loadfile --no-loadscope-reorder "$@" || code=$?
wait "$types" || { cat "$findings" >&2; code=1; }
exit "$code"
