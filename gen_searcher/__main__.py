"""`python -m gen_searcher`, and the console script `gen-searcher`."""

from __future__ import annotations

import atexit
import sys

from gen_searcher.cli import run
from gen_searcher.commands.ending import Ending


def main() -> None:
    """Run the command line and exit with its code; the last line says what it was, after a crash's traceback too."""
    ending = Ending()
    atexit.register(ending.say)  # first in, last out: what libraries say when they close comes before it
    ending.exit_code = run(sys.argv[1:], ending=ending)
    sys.exit(ending.exit_code)


if __name__ == "__main__":
    main()
