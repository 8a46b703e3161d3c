"""The benchmark's arithmetic: scores, intervals, tables."""
