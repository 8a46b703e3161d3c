"""A clean Debian below a folder, and commands in it as a container engine would run them. Needs root and debootstrap.

Everything that a command mounts is mounted in a namespace of its own and is gone when it ends, however it ends.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

BASE = re.compile(r"python:(?P<python>3\.\d+)-slim-(?P<suite>[a-z]+)")
NEEDED = ("debootstrap", "unshare", "chroot", "ip")
DOWNLOAD_S = 1800.0
ROOT = "root"

ENTER = """\
set -eu
root=$1 user=$2 folder=$3 network=$4 shown=$5; shift 5
mount --rbind /dev "$root/dev"
mount -t tmpfs -o size=1g tmpfs "$root/dev/shm"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
for path in $shown; do
    if [ -d "$path" ]; then
        mkdir -p "$root$path"
    else
        mkdir -p "$root$(dirname "$path")"
        [ -e "$root$path" ] || : >"$root$path"
    fi
    mount --bind -o ro "$path" "$root$path"
done
[ "$network" = yes ] || ip link set lo up
exec chroot --userspec="$user" "$root" env -C "$folder" "$@"
"""
"""What stands between the machine and the command: its devices, 1 GiB of shared memory, its processes, what it is shown."""


class NoRoot(Exception):
    """This machine does not let us make one; the message says why."""


def debian_with_python(base: str, root: Path) -> None:
    """A stand-in for the image `base`, `python:VERSION-slim-SUITE`: a minimal Debian with its own Python of that version.

    It differs where Python lies (`/usr/bin`) and in its last number. Asks the package archive that debootstrap knows.

    Raises:
        NoRoot: A tool or the right to use it is missing, or the archive does not answer.
        ValueError: Another image.
    """
    wanted = BASE.fullmatch(base)
    if wanted is None:
        raise ValueError(f"no stand-in for {base}")
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        raise NoRoot(f"there is no {', '.join(missing)}")
    may = subprocess.run(["unshare", "--mount", "--pid", "--net", "--fork", "true"], capture_output=True, check=False)
    if may.returncode:
        raise NoRoot(f"no namespaces: {may.stderr.decode().strip()}")
    made = subprocess.run(
        ["debootstrap", "--variant=minbase", wanted["suite"], str(root)],
        capture_output=True,
        text=True,
        timeout=DOWNLOAD_S,
        check=False,
    )
    if made.returncode:
        raise NoRoot(f"debootstrap: {(made.stdout + made.stderr).strip().splitlines()[-1]}")
    python = f"python{wanted['python']}"
    packages = f"{python}-venv lib{python}-dev ca-certificates netbase tzdata"
    lines = (
        f"apt-get update && apt-get install -y --no-install-recommends {packages}",
        *(f"ln -s /usr/bin/{python} /usr/local/bin/{name}" for name in ("python", "python3")),
        "rm -rf /var/lib/apt/lists/*",
    )
    done = command(
        root, ["sh", "-c", " && ".join(lines)], environment={"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/bin"}
    )
    if done.returncode:
        raise NoRoot(f"apt-get: {done.stderr.strip().splitlines()[-1]}")


def command(
    root: Path,
    words: Sequence[str],
    *,
    environment: Mapping[str, str],
    user: str = ROOT,
    folder: str = "/",
    shown: Sequence[Path] = (),
    has_network: bool = True,
    timeout_s: float = DOWNLOAD_S,
) -> subprocess.CompletedProcess[str]:
    """Run it as the first process of its own process namespace; nothing of this machine's environment reaches it.

    Args:
        root: The folder that becomes `/`.
        words: Looked up on the PATH of `environment`, as are the few of this machine that come before it.
        environment: All that it has beside HOME, which is the user's.
        user: By name, as the root's own password file knows it.
        folder: Where it starts.
        shown: Files and folders of this machine that it may read, at the same paths.
        has_network: False: a loopback of its own and nothing else.
        timeout_s: After that it and all that it has started are killed, and `subprocess.TimeoutExpired` raised.
    """
    number, group, home = _entry(root, user)
    network = () if has_network else ("--net",)
    return subprocess.run(
        [
            *("unshare", "--mount", "--pid", *network, "--fork", "--kill-child", "sh", "-c", ENTER, "enter"),
            *(str(root), f"{number}:{group}", folder, "yes" if has_network else "no", " ".join(map(str, shown))),
            *words,
        ],
        # Not among the words: addresses of package indexes may hold passwords, and everybody sees the words.
        env={"HOME": home, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def _entry(root: Path, user: str) -> tuple[str, str, str]:
    """Number, group and home."""
    for line in (root / "etc" / "passwd").read_text().splitlines():
        name, _, number, group, _, home, _ = line.split(":")
        if name == user:
            return number, group, home
    raise LookupError(user)
