"""Every command of the console, in the order of help. Keys, ``:`` line, palette and help read this list."""

from __future__ import annotations

from decnet_tui.commands import (
    alerts,
    changing,
    drafting,
    evidence,
    finding,
    fleet,
    hunting,
    leaving,
    linking,
    mouse,
    moving,
    reading,
    saving,
    since,
    tables,
    views,
)
from decnet_tui.commands.base import Command

COMMANDS: tuple[Command, ...] = (
    *views.COMMANDS,
    *saving.COMMANDS,
    *moving.COMMANDS,
    *finding.COMMANDS,
    *reading.COMMANDS,
    *since.COMMANDS,
    *tables.COMMANDS,
    *changing.COMMANDS,
    *hunting.COMMANDS,
    *drafting.COMMANDS,
    *linking.COMMANDS,
    *evidence.COMMANDS,
    *alerts.COMMANDS,
    *fleet.COMMANDS,
    *mouse.COMMANDS,
    *leaving.COMMANDS,
)
CHANGES = frozenset(c.id for c in COMMANDS if c.changes)
"""Ids that ``--read-only`` takes away."""
