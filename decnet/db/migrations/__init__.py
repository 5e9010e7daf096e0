"""Schema revisions, run by :mod:`decnet.db.migrate`."""
