"""What an actor is called for people: its addresses, else the beginning of its id. Knows no terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from decnet.hostile import visible
from decnet_tui.model.event_text import short

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository
    from decnet.db.rows.attribution import Alert

SHOWN = 2
"""Addresses that stand in a list; how many more there are is said."""


async def addresses(repo: BaseRepository, rows: Iterable[Alert]) -> dict[str, str]:
    """The addresses of all attackers in ``attacker_uuids`` of some rows. Raises what the store raises."""
    wanted = {uuid for row in rows for uuid in row.get("attacker_uuids") or ()}
    return await repo.addresses_of_attackers(sorted(wanted)) if wanted else {}


def actor_label(row: Alert, known: Mapping[str, str], limit: int = SHOWN) -> str:
    """The addresses of a row with ``attacker_uuids``, at most ``limit`` (0: all); else its identity's beginning."""
    found = [visible(known[uuid], 45) for uuid in row.get("attacker_uuids") or () if known.get(uuid)]
    shown = found[: limit or None]
    more = f" +{len(found) - len(shown)}" if len(found) > len(shown) else ""
    return " ".join(shown) + more if shown else f"id:{short(row.get('identity_uuid'))}"


def actor_and_id(row: Alert, known: Mapping[str, str]) -> str:
    """The addresses and the beginning of the identity, which tells two behind one address apart."""
    label, ident = actor_label(row, known), f"id:{short(row.get('identity_uuid'))}"
    return label if label == ident else f"{label} {ident}"
