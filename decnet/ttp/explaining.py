"""Why a rule fires on the commands of a session or does not: each part of its condition, and what another rule replaced.

By the rules alone, as :mod:`decnet.ttp.offline` judges: states and the confidence floor of an engine do not count.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict

from decnet.shell.views import View
from decnet.ttp.base import TaggerEvent
from decnet.ttp.conditions import Compare, Condition, Either, Every, Fields, Negation, Pattern
from decnet.ttp.context import reason_of
from decnet.ttp.events import tagger_events
from decnet.ttp.matcher import Failures, Hit
from decnet.ttp.offline import OfflineTagger
from decnet.ttp.offline_sessions import ReceivedSession
from decnet.ttp.replacing import standing
from decnet.ttp.rules import CompiledRule, Emit

MAX_FOUND_CHARS = 120
MAX_VIEWS = 20
"""Views of one command that are told although the rule does not hold in them."""


class Part(TypedDict):
    """One part of a condition: what it asks, whether that holds, by which text, and the line of the session behind it."""

    asks: str
    holds: bool
    found: str | None
    because: str | None
    parts: list[Part]


class ViewTold(TypedDict):
    """One view of a command: whether the whole condition holds in it, else the first part that does not."""

    kind: str
    text: str
    holds: bool
    wanting: str | None


class Explained(TypedDict):
    """A rule and one command: ``replaced`` are the techniques that fell away, each with the rules that know better.

    ``views`` are told one by one, the first ``MAX_VIEWS`` and those in which it holds; ``condition`` is told in parts
    of ``view``, the first in which the rule holds, else the one in which most of it does.
    """

    line: int
    input: str
    fires: bool
    view: str
    views: list[ViewTold]
    more_views: int
    techniques: list[str]
    replaced: dict[str, list[str]]
    condition: Part


def explained(tagger: OfflineTagger, rule: CompiledRule, session: ReceivedSession) -> Iterator[Explained]:
    """The rule on each command of a session, in order; a command of several lines has the number of its first one."""
    places = {ident: place for place, (ident, _) in enumerate(session.record.command_ids(), start=1)}
    for event in tagger_events(session):
        if event.source_kind == "command":
            lines = event.payload.get("lines") or [event.source_id]
            yield _explained(tagger, rule, event, places.get(lines[0], 0))


def _explained(tagger: OfflineTagger, rule: CompiledRule, event: TaggerEvent, line: int) -> Explained:
    failures = Failures()
    text = str(event.payload.get("command_text") or "")
    hits, _ = tagger.index.hits("command", event.payload, failures)
    mine = next((hit for hit in hits if hit.rule.rule_id == rule.rule_id), None)
    looks = tagger.index.looks(text, event.payload)
    shown = next((look for look in looks if mine is not None and look[0].text == mine.text), None)
    view, fields = shown or _nearest(rule, looks)
    left = [
        hit.rule
        for hit in standing(hits, lambda _: True, lambda *_: None)
        if hit.rule.rule_id == rule.rule_id
    ]
    stays = {_technique(emit) for own in left for emit in own.emits}
    told = _views(rule, looks)
    gone = [t for emit in rule.emits if (t := _technique(emit)) not in stays] if mine is not None else []
    return {
        "line": line,
        "input": text,
        "fires": mine is not None,
        "view": view.text,
        "views": told,
        "more_views": len(looks) - len(told),
        "techniques": [t for emit in rule.emits if (t := _technique(emit)) in stays],
        "replaced": {technique: _knowing_better(hits, technique) for technique in gone},
        "condition": _part(rule.condition, fields, event, view.text),
    }


def _views(rule: CompiledRule, looks: list[tuple[View, Fields]]) -> list[ViewTold]:
    out: list[ViewTold] = []
    for place, (view, fields) in enumerate(looks):
        if rule.scope == "line" and view.kind != "line":
            out.append({"kind": view.kind, "text": view.text, "holds": False, "wanting": "scope: line"})
            continue
        wanting = _wanting(rule.condition, fields)
        if place < MAX_VIEWS or wanting is None:
            out.append({"kind": view.kind, "text": view.text, "holds": wanting is None, "wanting": wanting})
    return out


def _wanting(condition: Condition | None, fields: Fields) -> str | None:
    """The first part that does not hold, in words; None where all does."""
    if condition is not None and condition.find(fields) is not None:
        return None
    if isinstance(condition, Every):
        return next(said for part in condition.parts if (said := _wanting(part, fields)) is not None)
    if isinstance(condition, Negation):
        return f"not {_in_words(condition.part)}"
    return _in_words(condition)


def _in_words(condition: Condition | None) -> str:
    if isinstance(condition, Either):
        return f"one of {len(condition.parts)} parts"
    if isinstance(condition, Every):
        return f"all of {len(condition.parts)} parts"
    if isinstance(condition, Negation):
        return f"not {_in_words(condition.part)}"
    return _asks(condition)


def _technique(emit: Emit) -> str:
    return emit.sub_technique_id or emit.technique_id


def _knowing_better(hits: list[Hit], technique: str) -> list[str]:
    return sorted(hit.rule.rule_id for hit in hits if technique in hit.rule.replaces)


def _nearest(rule: CompiledRule, looks: list[tuple[View, Fields]]) -> tuple[View, Fields]:
    """The view of which most parts of the condition hold; the first of like ones."""
    return max(looks, key=lambda look: _held(rule.condition, look[1]))


def _held(condition: Condition | None, fields: Fields) -> int:
    if isinstance(condition, (Every, Either)):
        return sum(_held(part, fields) for part in condition.parts)
    return int(condition is not None and condition.find(fields) is not None)


def _part(condition: Condition | None, fields: Fields, event: TaggerEvent, view: str) -> Part:
    found = condition.find(fields) if condition is not None else None
    inner: tuple[Condition, ...] = ()
    if isinstance(condition, (Every, Either)):
        inner = condition.parts
    elif isinstance(condition, Negation):
        inner = (condition.part,)
    leaf = found is not None and not inner
    return {
        "asks": _asks(condition),
        "holds": found is not None,
        "found": found.text[:MAX_FOUND_CHARS] if leaf and found is not None else None,
        "because": _because(condition, event, view) if leaf else None,
        "parts": [_part(part, fields, event, view) for part in inner],
    }


def _asks(condition: Condition | None) -> str:
    if isinstance(condition, Pattern):
        return f"{condition.field} matches {condition.pattern}"
    if isinstance(condition, Compare) and condition.op == "exists":
        return f"{condition.field} is {'absent' if condition.value is False else 'there'}"
    if isinstance(condition, Compare):
        return f"{condition.field} {condition.op} {condition.value}"
    names = {Every: "all of", Either: "any of", Negation: "not"}
    return names.get(type(condition), "nothing that a command has")


def _because(condition: Condition | None, event: TaggerEvent, view: str) -> str | None:
    """The line of the session that a fact rests on."""
    told = isinstance(condition, (Pattern, Compare)) and reason_of(event.payload, view, condition.field)
    return told or None
