"""Where the numbers of a run go beside `metrics.jsonl`: one file per service, each needs its own package."""
