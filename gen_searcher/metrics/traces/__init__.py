"""OpenTelemetry traces of attempts: what an attempt did, on which worker, and how long each part took."""
