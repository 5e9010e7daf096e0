"""The tables, one module a subject; importing this fills the metadata."""

from decnet.db.schema import (
    attribution,
    behave,
    canary,
    fleet,
    ignored,
    intel,
    journal,
    linking,
    notes,
    recorder,
    runtime,
    story,
    ttp,
)

__all__ = [
    "attribution",
    "behave",
    "canary",
    "fleet",
    "ignored",
    "intel",
    "journal",
    "linking",
    "notes",
    "recorder",
    "runtime",
    "story",
    "ttp",
]
