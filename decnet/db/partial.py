"""What partial indexes hold: the index and the statements that are to use it have one text."""

from __future__ import annotations

from sqlalchemy import text

TOLD = text("source_kind IN ('canary_fingerprint', 'email')")
"""Tags whose evidence alone tells what others sent: ``find`` looks through it."""
