"""Every lock that repositories take, in one place: their numbers, and how they are held until the transaction ends.

SQLite has one writer and needs none of them. The lock of migrations is :mod:`decnet.db.migrate`'s own. No two
numbers below are the same, and locks of one call are taken in rising order, so that two transactions cannot
wait for each other in a ring.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import Column, select, text

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

LOCK_RULES = 0x0DEC_0001
"""Definitions and states of rules, whose changes get a sequence number."""
LOCK_MERGES = 0x0DEC_0002
"""Merges of identities. Who holds rows of identities has a share in it first: then no merge holds any."""
LOCK_FLEET = 0x0DEC_0003
"""The shape of fleets."""
LOCK_MAILS = 0x0DEC_0E01
"""E-mails that may have one body."""
LOCK_WINDOWS = 0x0DEC_0100
"""The first of the locks of window rules."""
WINDOW_BUCKETS = 64
"""So many locks of window rules there are."""

LOCK_SESSIONS = 0x0DEC_0200
"""The first of the locks of sessions that are judged in parts."""
SESSION_BUCKETS = 64
"""So many of them there are."""


async def advise(session: AsyncSession, keys: Iterable[int]) -> None:
    """Waits for PostgreSQL's advisory locks; the transaction then holds them until it ends."""
    for key in sorted(set(keys)):
        await session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})


async def advise_shared(session: AsyncSession, key: int) -> None:
    """Waits until nobody holds a lock for itself; others may have a share in it, too, until the transaction ends."""
    await session.execute(text("SELECT pg_advisory_xact_lock_shared(:key)"), {"key": key})


async def lock_rows(session: AsyncSession, key: Column[str], ids: Sequence[str]) -> None:
    """Holds rows (FOR UPDATE) in the order of their key until the transaction ends."""
    rows = select(key).where(key.in_(ids))
    await session.execute(rows.order_by(key).with_for_update())


def window_lock(slot: str) -> int:
    """The lock of a slot (hex) of a window rule."""
    return LOCK_WINDOWS + int(slot[:8], 16) % WINDOW_BUCKETS


def session_lock(session_id: str) -> int:
    """The lock of a session that is judged in parts. Taken before those of window rules, never after."""
    digest = hashlib.blake2b(session_id.encode("utf-8", "replace"), digest_size=8).digest()
    return LOCK_SESSIONS + int.from_bytes(digest, "big") % SESSION_BUCKETS


def attacker_lock(attacker: str) -> int:
    """The lock of an attacker whose sessions are summarised: 64 bits, signed."""
    digest = hashlib.blake2b(f"behave|{attacker}".encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
