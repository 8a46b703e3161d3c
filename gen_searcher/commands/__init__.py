"""The bodies of the commands: they wire configuration, cluster and loops together."""
