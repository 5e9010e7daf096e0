"""Tagging without an engine: lines in, plain dicts out. No database, no bus, light to import."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from decnet.errors import RuleError
from decnet.ttp.kept import KeptRules
from decnet.ttp.kinds import KNOWN_SOURCE_KINDS
from decnet.ttp.loader import load_dir
from decnet.ttp.matcher import Failures, Hit, RuleIndex
from decnet.ttp.replacing import standing
from decnet.ttp.rules import CompiledRule, Emit
from decnet.ttp.windows import WHO, Subject, event_time, window_hit
from decnet.ttp.windows_memory import MemoryWindows

_CACHED_CHARS = 1000
_Fired = tuple[CompiledRule, Emit, str]
"""A tag: rule, emit, matched text."""


class OfflineTagger:
    """Judges lines by the rules of one directory; ``errors`` lists the files that did not load."""

    def __init__(self, rules_dir: Path | str, *, floor: float = 0.3, kept: Path | None = None) -> None:
        """``kept`` is the folder in which compiled rules are kept for the next time."""
        known = KeptRules(kept)
        result = load_dir(Path(rules_dir), kept=known)
        self.errors: tuple[RuleError, ...] = tuple(result.errors)
        self.index = RuleIndex(result.rules, at_once=known.has_news)
        known.save()
        self.floor = floor
        self.views_capped = 0
        self.failures = Failures()
        """What became of rules that could not judge."""
        self._windows = MemoryWindows()
        self._events = 0
        self._heads: dict[int, str] = {}
        """By the id of an emit: the index keeps all of them as long as this is here."""
        self._remembered = lru_cache(maxsize=8192)(self._said)

    def tag_line(self, line: str) -> list[dict[str, Any]]:
        """The tags of one input line: a TaggerEvent when it is a JSON object with ``source_kind``, else a command."""
        event = _event(line)
        return self.tag_command(line) if event is None else self.tag_event(event)

    def answer(self, line: str) -> str:
        """The output line for one input line, ASCII only: the line, and the tags of :meth:`tag_line`."""
        event = _event(line)
        tags = self._command(line)[1] if event is None else json.dumps(self.tag_event(event))
        return f'{{"input": {_text(line)}, "tags": {tags}}}'

    def tag_command(self, line: str) -> list[dict[str, Any]]:
        """The tags of a command by itself; those of short ones are remembered."""
        return [_tag(*one) for one in self._command(line)[0]]

    def _command(self, line: str) -> tuple[Sequence[_Fired], str]:
        """What a command has fired, and its tags as JSON."""
        return self._remembered(line) if len(line) <= _CACHED_CHARS else self._said(line)

    def _said(self, line: str) -> tuple[Sequence[_Fired], str]:
        fired = self._command_tags(line)
        texts = [f"{self._head(rule, emit)}{_text(matched)}}}" for rule, emit, matched in fired]
        return fired, f"[{', '.join(texts)}]"

    def _head(self, rule: CompiledRule, emit: Emit) -> str:
        """The JSON of a tag up to what the rule matched: all that is not the line's own."""
        head = self._heads.get(id(emit))
        if head is None:
            head = self._heads[id(emit)] = json.dumps(_tag(rule, emit, ""))[: -len('""}')]
        return head

    def tag_event(self, event: dict[str, Any], *, timeless: bool = False) -> list[dict[str, Any]]:
        """The tags of one TaggerEvent given as an object; an unknown kind has none.

        Windows and sequences say nothing of a ``timeless`` one.
        """
        kind, payload = event["source_kind"], event.get("payload")
        if kind not in KNOWN_SOURCE_KINDS or not isinstance(payload, dict):
            return []
        from decnet.ttp.lifter_registry import Finding, Lift, adjusted  # here: commands have no lifters
        from decnet.ttp.lifting import lifts

        hits, capped = self.index.hits(kind, payload, self.failures)
        self.views_capped += capped
        hits = list(standing(hits, _always, _untold))
        out: list[dict[str, Any]] = []
        own = [Lift(h.rule, Finding(h.found.field, h.found.text), h.rule.emits) for h in hits if not h.marks]
        found = lifts(self.index.lifted_rules(kind), payload, self.failures)
        for rule, finding, emits in adjusted([*own, *found], payload):
            out += self._tags(rule, emits, finding.text)
        return out if timeless else out + self._came_true(event, kind, payload, hits)

    def _came_true(
        self, event: dict[str, Any], kind: str, payload: dict[str, Any], hits: Sequence[Hit]
    ) -> list[dict[str, Any]]:
        """The tags of window and sequence rules that this event completes among those before it."""
        self._events += 1
        out: list[dict[str, Any]] = []
        for hit in hits:
            if not hit.marks:
                continue
            source = str(event.get("source_id") or f"line-{self._events:012}")
            who = {name: event.get(name) for name in WHO}
            subject = Subject(kind, source, event_time(payload, 0.0), who, payload)
            found = window_hit(hit.rule, hit.marks, subject, {"matched": hit.found.text})
            for rule, _ in self._windows.apply([found]) if found else ():
                out += self._tags(rule, rule.emits, hit.found.text)
        return out

    def _command_tags(self, line: str) -> list[_Fired]:
        """What fires of the rules that say something of one command by itself."""
        hits, capped = self.index.command_hits(line, _NO_PAYLOAD, self.failures, alone=True)
        self.views_capped += capped
        return [
            one
            for hit in hits
            if not hit.marks
            for one in self._fired(hit.rule, hit.rule.emits, hit.found.text)
        ]

    def _fired(self, rule: CompiledRule, emits: Iterable[Emit], matched: str) -> Iterator[_Fired]:
        """The tags above the floor."""
        for emit in emits:
            if emit.confidence >= self.floor:
                yield rule, emit, matched

    def _tags(self, rule: CompiledRule, emits: Iterable[Emit], matched: str) -> Iterator[dict[str, Any]]:
        return (_tag(*one) for one in self._fired(rule, emits, matched))


def _tag(rule: CompiledRule, emit: Emit, matched: str) -> dict[str, Any]:
    """One tag; what was matched stands last."""
    return {
        "rule_id": rule.rule_id,
        "technique_id": emit.technique_id,
        "sub_technique_id": emit.sub_technique_id,
        "tactic": emit.tactic,
        "confidence": emit.confidence,
        "matched": matched,
    }


_NO_PAYLOAD: dict[str, Any] = {}
_text = json.encoder.encode_basestring_ascii


def _always(_rule: CompiledRule) -> bool:
    return True


def _untold(_rule_id: str, _tags: int) -> None:
    """Nobody keeps figures here."""


def _event(line: str) -> dict[str, Any] | None:
    """The object in the line when it is a TaggerEvent; commands may start with a brace too."""
    if not (line.startswith("{") or line[:1].isspace()):
        return None
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not isinstance(value.get("source_kind"), str):
        return None
    return value
