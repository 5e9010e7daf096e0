"""Notes as lines for people. Knows no terminal."""

from __future__ import annotations

from decnet.db.rows.notes import NoteRow
from decnet.hostile import visible


def note_line(note: NoteRow) -> str:
    """When, by whom, what."""
    return f"{note['ts']:%m-%d %H:%M} {visible(note['operator'], 40)}: {visible(note['body'], 200)}"
