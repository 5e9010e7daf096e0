"""One rule over events that are known, before it is in force: what it would tag, what that costs, who tags the same.

Judges as :mod:`decnet.ttp.judge` does, by the rules alone. Takes one event of the bus at a time and keeps counts only;
reading the history and showing the report is for the command.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from decnet.hostile import storable_text
from decnet.runtime.received import Received
from decnet.ttp.base import TaggerEvent
from decnet.ttp.clocked import ClockedIndex
from decnet.ttp.events import tagger_events
from decnet.ttp.kinds import DEFAULT_FIELDS
from decnet.ttp.offline import OfflineTagger
from decnet.ttp.offline_sessions import Tags, tags_of
from decnet.ttp.rules import CompiledRule

MAX_EXAMPLES = 1_000
"""Different examples that are kept."""
MAX_TEXT_CHARS = 300
MAX_SESSIONS = 1_000_000
"""Sessions, attackers and decoys that are told apart."""


class Trial:
    """Counts what ``rule`` makes of the events that it is given, beside the rules of ``tagger``."""

    def __init__(self, tagger: OfflineTagger, rule: CompiledRule, examples: int = 10) -> None:
        """``tagger`` is the trial's own from now on; a rule of the same id gives way to ``rule``."""
        others = [known for known in tagger.index.rules if known.rule_id != rule.rule_id]
        self._before = tagger.index.by_id.get(rule.rule_id)
        self._index = ClockedIndex([*others, rule])
        tagger.index = self._index
        self._tagger, self._rule, self._most = tagger, rule, examples
        self._totals: Counter[str] = Counter()
        self._techniques: Counter[str] = Counter()
        self._others: Counter[str] = Counter()
        self._same: Counter[str] = Counter()
        self._seen: dict[str, set[str]] = {"sessions": set(), "attackers": set(), "decoys": set()}
        self._examples: dict[str, dict[str, Any]] = {}

    def event(self, one: Received) -> None:
        """Judges what one event of the bus says."""
        events = tagger_events(one)
        places = {event.source_id: place for place, event in enumerate(_commands(events), start=1)}
        for event in events:
            if event.source_kind not in self._rule.applies_to:
                continue
            self._totals["events"] += 1
            tags = tags_of(self._tagger, event)
            mine = [tag for tag in tags if tag["rule_id"] == self._rule.rule_id]
            if mine:
                self._hit(event, mine, tags, places.get(event.source_id, 0))

    def _hit(self, event: TaggerEvent, mine: Tags, tags: Tags, line: int) -> None:
        self._totals["hits"] += 1
        self._totals["tags"] += len(mine)
        own = {_technique(tag) for tag in mine}
        self._techniques.update(own)
        others = {tag["rule_id"] for tag in tags} - {self._rule.rule_id}
        self._others.update(others)
        self._same.update({tag["rule_id"] for tag in tags if _technique(tag) in own} - {self._rule.rule_id})
        self._totals["alone"] += not others
        for name, value in (
            ("sessions", event.session_id),
            ("attackers", event.attacker_uuid),
            ("decoys", event.decky_id),
        ):
            if value and len(self._seen[name]) < MAX_SESSIONS:
                self._seen[name].add(value)
        self._example(event, str(mine[0]["matched"]), line)

    def _example(self, event: TaggerEvent, matched: str, line: int) -> None:
        text = _text(event)
        if (known := self._examples.get(text)) is not None:
            known["seen"] += 1
        elif len(self._examples) < MAX_EXAMPLES:
            self._examples[text] = {
                "text": text, "matched": matched[:MAX_TEXT_CHARS], "seen": 1, "source_kind": event.source_kind,
                "source_id": event.source_id, "session_id": event.session_id, "line": line,
            }  # fmt: skip

    def report(self) -> dict[str, Any]:
        """All that was found; of like examples one, those that were seen most first."""
        rule, totals = self._rule, self._totals
        clock = self._index.clocks.get(rule.rule_id)
        judged = max(self._index.judged, 1)
        examples = sorted(self._examples.values(), key=lambda row: (-row["seen"], row["text"]))
        return {
            "rule_id": rule.rule_id,
            "name": rule.name,
            "replaces_version": self._before.rule_version if self._before is not None else None,
            "events": totals["events"],
            "hits": totals["hits"],
            "tags": totals["tags"],
            "techniques": dict(self._techniques.most_common()),
            "alone": totals["alone"],
            **{name: len(values) for name, values in self._seen.items()},
            "different": len(self._examples),
            "examples": examples[: self._most or None],
            "overlap": self._overlap(),
            "cost": {
                "looked_at": clock.calls if clock else 0,
                "us_an_event": clock.ns / judged / 1000 if clock else 0.0,
                "us_all_rules": self._index.ns / judged / 1000,
            },
            "failures": self._tagger.failures.total,
        }

    def _overlap(self) -> list[dict[str, Any]]:
        """Other rules that tag the same events, how many, and in how many of them with the same technique."""
        return [
            {
                "rule_id": rule_id,
                "name": self._index.by_id[rule_id].name,
                "hits": hits,
                "share": hits / self._totals["hits"],
                "same_technique": self._same[rule_id],
            }
            for rule_id, hits in sorted(self._others.items(), key=lambda item: (-item[1], item[0]))
        ]


def _commands(events: list[TaggerEvent]) -> list[TaggerEvent]:
    return [e for e in events if e.source_kind == "command" and not e.payload.get("lines")]


def _technique(tag: Mapping[str, Any]) -> str:
    return str(tag["sub_technique_id"] or tag["technique_id"])


def _text(event: TaggerEvent) -> str:
    """What an event is shown by: the field that its rules look at first, else its id."""
    value = event.payload.get(DEFAULT_FIELDS.get(event.source_kind, ""))
    text = value if isinstance(value, str) and value else f"{event.source_kind} {event.source_id}"
    return storable_text(text)[:MAX_TEXT_CHARS]
