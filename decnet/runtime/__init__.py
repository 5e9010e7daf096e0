"""The runtime: workers, their supervisor, batches, the outbox relay, leases, health."""

KNOWN_WORKERS = ("sensors", "recorder", "behave", "ttp", "attribution", "mutator", "intel", "decoys")
"""The single list of workers for ``--workers``, health and control."""
