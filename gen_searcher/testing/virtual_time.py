"""Virtual time for the tests of plug-in authors: see `gen_searcher.plan.virtual_time`."""

from gen_searcher.plan.virtual_time import VirtualLoop, run_virtually

__all__ = ["VirtualLoop", "run_virtually"]
