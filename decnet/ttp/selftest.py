"""Runs the tests that every rule carries itself, the way the rule would be run: matched, lifted or over several events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from decnet.errors import RuleError, SourcePosition
from decnet.shell.accounts import Accounts
from decnet.shell.script import read_script
from decnet.ttp.context import DEFAULT_PAIR, NEW_USER, Told
from decnet.ttp.kinds import DEFAULT_FIELDS
from decnet.ttp.lifter_registry import lift_one
from decnet.ttp.matcher import Failures, RuleIndex
from decnet.ttp.rules import CompiledRule
from decnet.ttp.windows import WHO, Subject, WindowHit, window_hit
from decnet.ttp.windows_memory import MemoryWindows

_MINE = frozenset({"at", "source_kind"})


def run_rule_tests(rules: Iterable[CompiledRule]) -> list[RuleError]:
    """One error for each example that a rule judges wrongly or cannot judge; the place is the example's line."""
    errors = []
    for rule in rules:
        index = RuleIndex([rule])
        for key, wanted, examples in (
            ("match", True, rule.tests_match),
            ("no_match", False, rule.tests_no_match),
        ):
            for i, example in enumerate(examples):
                message = _wrong(index, rule, example, wanted)
                if message:
                    place = rule.test_places.get((key, i)) or SourcePosition(rule.file, 1, 1)
                    errors.append(RuleError(f"own test fails: {message}", place, rule.rule_id))
    return errors


def _wrong(index: RuleIndex, rule: CompiledRule, example: Any, wanted: bool) -> str:
    """What is wrong with the rule's answer, empty when it is right."""
    try:
        held = _holds(index, rule, example)
    except Exception as error:  # noqa: BLE001 - the named boundary: one rule's failure is that rule's error
        return f"the rule fails on {_shown(example)}: {type(error).__name__}: {error}"
    if held is wanted:
        return ""
    return f"the rule {'does not match' if wanted else 'matches'} {_shown(example)}"


def _shown(example: Any) -> str:
    text = repr(example)
    return text if len(text) <= 200 else text[:200] + "…"


def _holds(index: RuleIndex, rule: CompiledRule, example: Any) -> bool:
    if rule.correlation is not None:
        return _comes_true(index, rule, example)
    if rule.lifter is not None:
        return isinstance(example, Mapping) and lift_one(rule, example) is not None
    failures = Failures()
    session = _session(example)
    if session is not None:
        held = bool(index.hits("command", session, failures)[0])
    else:
        held = any(index.hits(kind, _payload(kind, example), failures)[0] for kind in sorted(rule.applies_to))
    if failures.total:
        raise ValueError("a condition cannot be judged")
    return held


def _session(example: Any) -> dict[str, Any] | None:
    """The payload of the line that an example of a whole session means; None for any other example."""
    lines = example.get("session") if isinstance(example, Mapping) else example
    if not isinstance(lines, list) or not lines or not all(isinstance(line, str) for line in lines):
        return None
    number = example.get("fires", len(lines)) if isinstance(example, Mapping) else len(lines)
    if not isinstance(number, int) or not 1 <= number <= len(lines):
        raise ValueError(f"fires names one of {len(lines)} lines")
    login = example.get("login", []) if isinstance(example, Mapping) else []
    if not isinstance(login, list) or not set(login) <= {DEFAULT_PAIR}:
        raise ValueError(f"login is a list of {DEFAULT_PAIR}, or empty: what a session makes it tells itself")
    accounts = Accounts()
    *_, made = (accounts.line(line, place) for place, line in enumerate(lines[:number], start=1))
    known = Told(
        read_script(lines).facts[number - 1], dict.fromkeys([*login, *([NEW_USER] if made else [])], "")
    )
    return {"command_text": lines[number - 1], **known.said()}


def _payload(kind: str, example: Any) -> dict[str, Any]:
    if isinstance(example, str):
        return {DEFAULT_FIELDS.get(kind, "text"): example}
    return example if isinstance(example, dict) else {}


def _comes_true(index: RuleIndex, rule: CompiledRule, example: Any) -> bool:
    """Whether a list of events (``at`` seconds, ``source_kind`` for several kinds) makes the rule fire."""
    events = example if isinstance(example, Sequence) and not isinstance(example, str) else [example]
    windows = MemoryWindows()
    return any(windows.apply(_hits(index, rule, i, event)) for i, event in enumerate(events))


def _hits(index: RuleIndex, rule: CompiledRule, number: int, event: Any) -> Iterable[WindowHit]:
    body = dict(event) if isinstance(event, Mapping) else {}
    at, named = body.get("at", 0.0), body.get("source_kind")
    for kind in [named] if named else sorted(rule.applies_to):
        payload = {k: v for k, v in body.items() if k not in _MINE} or _payload(kind, event)
        # Whoever an example does not name is the same one throughout.
        who = {name: str(payload.get(name) or name) for name in WHO}
        subject = Subject(kind, f"event-{number:04}", float(at), who, payload)
        for hit in index.hits(kind, payload, Failures())[0]:
            found = window_hit(hit.rule, hit.marks, subject, {"matched": hit.found.text})
            if found is not None:
                yield found
