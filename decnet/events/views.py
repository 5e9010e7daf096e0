"""Topics that are views: what is published once for a whole session, as who listens to its pieces sees them. Pure.

Nobody works by the pieces: one durable event carries them all, and they are made where somebody listens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from decnet.events.observation import Observations
from decnet.events.ttp import RuleFired, Tagged
from decnet.ids import event_id


class Piece(NamedTuple):
    """One event of a view; ``ts`` is epoch seconds, None for that of the whole."""

    topic: str
    payload: dict[str, Any]
    type: str
    id: str
    ts: float | None = None


class View(NamedTuple):
    """``pattern`` are the topics of the pieces, ``source`` is the topic of the whole."""

    pattern: str
    source: str
    pieces: Callable[[Mapping[str, Any]], Iterator[Piece]]
    """The pieces in a payload of the source. Raises MalformedEvent for one that is none."""


def fired(payload: Mapping[str, Any]) -> Iterator[Piece]:
    """``ttp.rule.fired.<technique>`` for each technique of ``ttp.tagged``."""
    told = Tagged.parse(payload, [])
    who = {
        "attacker_uuid": told.attacker_uuid,
        "identity_uuid": told.identity_uuid,
        "session_id": told.session_id,
    }
    start = 0
    for each in told.fired:
        uuids, start = told.tag_uuids[start : start + each.tags], start + each.tags
        news = RuleFired(**who, technique_id=each.technique_id, tag_uuids=uuids, rule_ids=each.rule_ids)
        ident = event_id("ttp.fired", f"{each.technique_id}|{','.join(uuids)}")
        yield Piece(f"ttp.rule.fired.{each.technique_id}", news.build(), "fired", ident)


def observed(payload: Mapping[str, Any]) -> Iterator[Piece]:
    """``attacker.observation.<primitive>`` for each observation of ``attacker.observations``."""
    told = Observations.parse(payload, [])
    for each in told.observations:
        record, kind = told.whole(each), each.primitive
        ident = each.id or event_id("observation", f"{each.evidence_ref}|{kind}")
        ts = None if each.ts is None else float(each.ts)
        yield Piece(f"attacker.observation.{kind}", record.build(), kind, ident, ts)


VIEWS: tuple[View, ...] = (
    View("ttp.rule.fired.*", "ttp.tagged", fired),
    View("attacker.observation.>", "attacker.observations", observed),
)
