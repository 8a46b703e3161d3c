"""A mounted disk whose every handle is stale, as after an NFS server forgot it: `python -m tests.faults.stale_disk FOLDER`.

The kernel's own: a FUSE file system that answers ESTALE to everything. Says `ready`, serves until its input ends; the mount
stays, and a disk without a server is gone (ENOTCONN). Needs the right to mount.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
import threading

HEAD = struct.Struct("<IIQ")
"""Of a request: length, operation, number; more follows."""
REPLY = struct.Struct("<IiQ")
"""Length, error, number."""
INIT, DESTROY = 26, 38
SILENT = frozenset({2, 36, 42})
"""Operations without an answer: forget, interrupt, forget many."""
WELCOME = struct.pack("<IIIIHHI", 7, 31, 65536, 0, 12, 9, 65536) + bytes(40)
"""Protocol 7.31, the usual bounds."""


def main(folder: str) -> int:
    """Mount, serve."""
    device = os.open("/dev/fuse", os.O_RDWR)
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
    if libc.mount(b"stale", folder.encode(), b"fuse", 0, options):
        sys.stderr.write(os.strerror(ctypes.get_errno()))
        return 1
    threading.Thread(target=_serve, args=(device,), daemon=True).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()
    return 0


def _serve(device: int) -> None:
    while True:
        request = os.read(device, 1 << 20)
        _, operation, number = HEAD.unpack_from(request)
        if operation in SILENT:
            continue
        body = WELCOME if operation == INIT else b""
        error = 0 if operation in (INIT, DESTROY) else -errno.ESTALE
        os.write(device, REPLY.pack(REPLY.size + len(body), error, number) + body)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
