"""A rule file made from what somebody typed: a start that loads and fires, with what a person has to decide in words.

What changes from one attacker to the next (addresses, names, paths, numbers) is folded as :mod:`decnet.ttp.linekinds` folds
it; programs, options and paths of the system stay. Where only the session tells what the line means, it says which fields.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import yaml

from decnet.attack.catalogue import load_catalogue
from decnet.shell.known import COMMANDS
from decnet.shell.views import View, views
from decnet.ttp.base import TaggerEvent
from decnet.ttp.events import tagger_events
from decnet.ttp.kinds import CONTEXT
from decnet.ttp.linekinds import folded, kind_of
from decnet.ttp.loader import load_bytes
from decnet.ttp.offline import OfflineTagger
from decnet.ttp.offline_sessions import ReceivedSession, tags_of
from decnet.ttp.rule_schema import SCHEMA_LINE
from decnet.ttp.rules import CompiledRule
from decnet.ttp.selftest import run_rule_tests

DEFAULT_TECHNIQUE, DEFAULT_CONFIDENCE = "T1059.004", 0.5
MAX_LINES = 40
"""Lines of a session that go into a test."""
MAX_COMMAND_CHARS = 4_000
_SAID_OF_WORDS = {
    "URL": r"^[A-Za-z][A-Za-z0-9+.-]*://",
    "ADDRESS": r"^(?:\S+@)?(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f:]{3,})(?:[:/]|$)",
    "PATH": r"^(?:\.{0,2}/|~)",
    "HEX": r"^(?:0x)?[0-9A-Fa-f]{8,}",
}
"""What a folded word says of any word like it."""
_FOLDS = re.compile(r"\b(?:URL|ADDRESS|PATH|HEX|N|TEXT|NAME|VAR|HOME)\b|…")
_NOT_NAME = re.compile(r"[^a-z0-9]+")
_SAYS_LITTLE = frozenset(
    ("", "cd", "echo", "printf", "export", "set", "true", "false", "test", "[", "[[", "sleep", "wait", "exit")
)
MAX_WORDS = 8


class NothingToDraft(ValueError):
    """There is no line of which a rule could be made; the text says why."""


class Draft(NamedTuple):
    """The text of the file, the line that it was made of (from 1), and whether it fires on it."""

    text: str
    line: int
    fires: bool


class _Seen(NamedTuple):
    """One command of the session: the number of its line, its event, what rules say of it now."""

    number: int
    event: TaggerEvent
    tags: Sequence[Mapping[str, Any]]

    @property
    def text(self) -> str:
        return str(self.event.payload.get("command_text") or "")


def draft(
    tagger: OfflineTagger,
    session: ReceivedSession,
    *,
    line: int | None = None,
    rule_id: str | None = None,
    technique: str | None = None,
) -> Draft:
    """A rule file for one line of a session: ``line``, else the first that no rule tags, else the last one.

    Raises NothingToDraft for a session without that line, ValueError for an unknown technique.
    """
    commands = _commands(tagger, session)
    seen = _chosen(commands, line)
    known = load_catalogue().resolve((technique or _told_by_others(seen) or DEFAULT_TECHNIQUE).upper())
    if known is None:
        raise ValueError(f"no ATT&CK technique {technique!r:.40}")
    before = [one.text[:MAX_COMMAND_CHARS] for one in commands if one.number <= seen.number][-MAX_LINES:]
    ident = rule_id or _free_id(tagger)
    for match, needs in _matches(seen):
        example: Any = before if needs else seen.text[:MAX_COMMAND_CHARS]
        said = _said(ident, seen, match, known.technique_id, known.tactics[0], example)
        rule, _ = load_bytes(_yaml(said).encode(), "draft.yaml")
        if rule is not None and not run_rule_tests([rule]):
            return Draft(_text(said, seen, rule, technique is None), seen.number, True)
    raise NothingToDraft(f"no rule could be made that fires on line {seen.number}")


def _commands(tagger: OfflineTagger, session: ReceivedSession) -> list[_Seen]:
    places = {ident: place for place, (ident, _) in enumerate(session.record.command_ids(), start=1)}
    found = [
        _Seen(places[event.source_id], event, tags_of(tagger, event))
        for event in tagger_events(session)
        if event.source_kind == "command" and event.source_id in places
    ]
    return sorted(found, key=lambda one: one.number)


def _chosen(commands: Sequence[_Seen], line: int | None) -> _Seen:
    if not commands:
        raise NothingToDraft("nothing was typed in it")
    if line is not None:
        found = next((one for one in commands if one.number == line), None)
        if found is None:
            raise NothingToDraft(f"it has no line {line}: lines 1 to {commands[-1].number} were typed")
        return found
    telling = [one for one in commands if _view(one.text).argv0 not in _SAYS_LITTLE]
    return next((one for one in telling if not one.tags), (telling or commands)[-1])


def _told_by_others(seen: _Seen) -> str | None:
    """The technique that rules already give the line."""
    return next((str(tag["sub_technique_id"] or tag["technique_id"]) for tag in seen.tags), None)


def _free_id(tagger: OfflineTagger) -> str:
    return next(f"X{n:04}" for n in range(1, 100_000) if f"X{n:04}" not in tagger.index.by_id)


# --- what it looks for


def _view(text: str) -> View:
    """The command of a line that says most of what it is for: the first whose program is not used for anything."""
    found = [view for view in views(text).views if view.number] or list(views(text).views)
    return next((view for view in found if view.argv0 and view.argv0 not in _SAYS_LITTLE), found[0])


def _matches(seen: _Seen) -> Iterator[tuple[Mapping[str, Any], bool]]:
    """Conditions from the most general that may do to the line as it is; whether each needs the session."""
    view = _view(seen.text)
    facts = (seen.event.payload.get(CONTEXT) or {}).get(view.text)
    origin = facts.values.get("exec.origin") if facts is not None else None
    rest = list(_arguments(view))
    if origin is not None and view.argv0 not in COMMANDS:
        asked = [{"field": "exec.origin", "op": "equals", "value": one} for one in _several(origin)]
        yield _all([*asked[:1], *rest]), True
    if view.argv0:
        yield _all([{"field": "argv0", "op": "equals", "value": view.argv0}, *rest]), False
    yield {"field": "command_text", "op": "equals", "value": seen.text[:MAX_COMMAND_CHARS]}, False


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _arguments(view: View) -> Iterator[Mapping[str, Any]]:
    asked: set[str] = set()
    for word in view.argv[1:]:
        fold = folded(word)
        if fold in asked or len(asked) >= MAX_WORDS:
            continue
        asked.add(fold)
        if (pattern := _SAID_OF_WORDS.get(fold)) is not None:
            yield {"field": "argv", "op": "pattern", "value": pattern}
        elif fold == word and not _FOLDS.search(fold) and (word.startswith(("-", "/")) or word.isalpha()):
            yield {"field": "argv", "op": "equals", "value": word}


def _all(parts: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    return parts[0] if len(parts) == 1 else {"all": list(parts)}


# --- the file


def _said(
    rule_id: str, seen: _Seen, match: Mapping[str, Any], technique: str, tactic: str, example: Any
) -> dict[str, Any]:
    view, kind = _view(seen.text), kind_of(seen.text)
    parent, dot, _ = technique.partition(".")
    words = [word for word in (view.argv0, *kind.split()) if word.isalnum()]
    name = _NOT_NAME.sub("_", "_".join(dict.fromkeys(words)).lower()).strip("_")[:60].strip("_")
    emit = {"tactic": tactic, "technique_id": parent, **({"sub_technique_id": technique} if dot else {})}
    tests: dict[str, Any] = {"match": [example]}
    if view.argv0 and match.get("field") != "command_text":
        tests["no_match"] = [f"man {view.argv0}"]
    return {
        "rule_id": rule_id,
        "rule_version": 1,
        "name": name or "drafted",
        "description": f"Like {kind}",
        "applies_to": ["command"],
        "match": dict(match),
        "emits": [{**emit, "confidence": DEFAULT_CONFIDENCE}],
        "evidence_fields": ["command_text"],
        "references": [f"https://attack.mitre.org/techniques/{technique.replace('.', '/')}/"],
        "tests": tests,
    }


def _text(said: Mapping[str, Any], seen: _Seen, rule: CompiledRule, guessed: bool) -> str:
    emit = rule.emits[0]
    technique = emit.sub_technique_id or emit.technique_id
    name = load_catalogue().name(technique)
    by = sorted({str(tag["rule_id"]) for tag in seen.tags})
    lines = [
        f"A draft, made of line {seen.number}. Before it goes into force:",
        f"* is it {technique} {name}?"
        + (" That was only taken because no rule tags the line." if guessed and not by else ""),
        *([f"* {', '.join(by)} already tag this line: does another rule add anything?"] if by else []),
        "* does the description say what is done, and match no more than that? Add look-alikes to no_match.",
        *_what_the_session_tells(seen),
        "Then: decnet-tui rules test FILE (over what is stored), rules check DIR.",
    ]
    return SCHEMA_LINE + "".join(f"# {line}\n" for line in lines) + _yaml(said)


def _what_the_session_tells(seen: _Seen) -> list[str]:
    """Fields that hold for other names too, with their values on this line."""
    context = seen.event.payload.get(CONTEXT) or {}
    found: dict[str, Any] = {}
    for facts in context.values():
        found |= facts.values
    if not found:
        return []
    told = (
        f"    {{field: {name}, op: {'in' if isinstance(value, (list, tuple)) else 'equals'}, value: {_flow(value)}}}"
        for name, value in sorted(found.items())
    )
    return [
        "* the session tells more of this line; a rule that asks for it holds for other names as well:",
        *told,
    ]


def _flow(value: Any) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value, default=str, ensure_ascii=True)[
        :200
    ]


def _yaml(said: Mapping[str, Any]) -> str:
    """ASCII only: what attackers typed is escaped."""
    return str(
        yaml.safe_dump(dict(said), sort_keys=False, allow_unicode=False, width=110, default_flow_style=False)
    )
