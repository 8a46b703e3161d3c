"""What a cluster would do: the production scheduler on a clock of its own, with latencies that are drawn."""
