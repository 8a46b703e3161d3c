"""`python -m gen_searcher`, and the console script `gen-searcher`."""

from __future__ import annotations

import sys

from gen_searcher.cli import run


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
