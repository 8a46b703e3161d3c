"""The file with the cluster's token: whoever reads it runs code on the cluster as its owner."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

from gen_searcher.config.secrets import variable

log = logging.getLogger(__name__)

OTHERS = stat.S_IRWXG | stat.S_IRWXO


def guard_token_file() -> None:
    """Make Ray's own token file readable by its owner alone; warn of one that somebody else has arranged.

    Ray writes `~/.ray/auth_token` with whatever mode the shell leaves it, and nobody meant others to read it. The file that
    `RAY_AUTH_TOKEN_PATH` names was put there on purpose, perhaps for a group that shares a cluster, so it stays as it is.
    """
    own = Path.home() / ".ray" / "auth_token"
    if _is_open(own):
        try:
            own.chmod(stat.S_IRUSR | stat.S_IWUSR)
        except OSError as error:  # another user's file, or a read-only home
            log.warning(
                "others can read the token of your Ray clusters in %s, and it cannot be changed: %s", own, error
            )
    named = variable("RAY_AUTH_TOKEN_PATH")
    if named and _is_open(Path(named)):
        log.warning("others can read the token of your Ray cluster in %s; chmod 600, unless they are meant to", named)


def _is_open(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & OTHERS)
    except OSError:  # no such file: nothing to guard
        return False
