"""A directory of Sigma rules → texts of rules of ours, and for each what was left out, or why it is not carried over."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from decnet.attack.catalogue import Catalogue, load_catalogue
from decnet.ttp.loader import MAX_FILE_BYTES, load_bytes
from decnet.ttp.rule_schema import SCHEMA_LINE
from decnet.ttp.rules import CompiledRule
from decnet.ttp.schema import MAX_DESCRIPTION
from decnet.ttp.selftest import run_rule_tests
from decnet.ttp.sigma.carrying import Way, carry
from decnet.ttp.sigma.correlating import Base, correlate, is_correlation, names_of
from decnet.ttp.sigma.examples import example_of, harmless_of
from decnet.ttp.sigma.library import correlation_of
from decnet.ttp.sigma.places import Place, place_of
from decnet.ttp.sigma.reading import SigmaDocument, Unread, read_rules, sigma_files, slug
from decnet.ttp.sigma.refusal import Refusal
from decnet.ttp.sigma.techniques import emits_of

_HEX = re.compile(r"[0-9a-f]{8}(?=[0-9a-f-]|\Z)")
_LICENCES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENSE.Detection.Rules.md", "LICENCE")
_LICENCE_CHARS = 10_000
_DRL = re.compile(r"Detection Rule License\s*(?:\(DRL\))?\s*(\d\.\d)?")
_UP = 4
"""Directories above the rules in which their licence is looked for."""
_EVENTS = {"command": "typed command", "http_request": "request"}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one Sigma rule: the files that hold it here by name, or the reason why there is none."""

    where: str
    title: str
    ident: str
    files: Mapping[str, str] = field(default_factory=dict)
    rule_ids: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    reason: str = ""


class _Draft(NamedTuple):
    """One rule of ours that is to be written."""

    suffix: str
    match: Mapping[str, Any]
    kinds: tuple[str, ...]
    ways: Sequence[Way]
    example: list[dict[str, Any]] | None


@dataclass(slots=True)
class Importer:
    """Carries rules over. ``licence`` stands for rules that name none, ``technique`` for those without one."""

    licence: str = ""
    technique: str | None = None
    versions: Callable[[str, str], int] = lambda _name, _text: 1
    """Version of a rule by its file name and its text, for files that were written before."""
    catalogue: Catalogue = field(default_factory=load_catalogue)
    _taken: dict[str, str] = field(default_factory=dict)
    """Rule ids, each with the file that has it."""
    _of_bases: dict[str, list[str]] = field(default_factory=dict)
    """Tags of the rules that a correlation speaks of, by where that stands."""

    def run(self, directory: Path) -> Iterator[Imported]:
        """Every rule below ``directory``, in order of their files; correlation rules after those that they speak of."""
        if not self.licence:
            self.licence = licence_beside(directory)
        yield from self.carried(one for path in sigma_files(directory) for one in read_rules(path))

    def carried(self, documents: Iterable[SigmaDocument | Unread]) -> Iterator[Imported]:
        """What becomes of documents, which may speak of each other."""
        rules: list[SigmaDocument] = []
        for one in documents:
            if isinstance(one, Unread):
                yield Imported(one.where, "", "", reason=one.reason)
            else:
                rules.append(one)
        correlations = [rule for rule in rules if is_correlation(rule)]
        spoken_of = {name for rule in correlations for name in _has_to_itself(rule)}
        known = {
            name: rule
            for rule in rules
            for name in (rule.text("id"), rule.text("name"), rule.text("title"))
            if name
        }
        for rule in rules:
            if is_correlation(rule):
                continue
            if spoken_of & {rule.text("id"), rule.text("name"), rule.text("title")} - {""}:
                yield self._told(rule, reason="it is only part of a correlation rule, which has it")
            else:
                yield self._one(rule, self._plain)
        for rule in correlations:
            yield self._one(rule, lambda one: self._correlated(one, known))

    def _one(
        self, rule: SigmaDocument, make: Callable[[SigmaDocument], tuple[list[_Draft], Place, list[str]]]
    ) -> Imported:
        if not rule.text("title"):
            return self._told(rule, reason="it has no title")
        try:
            drafts, place, notes = make(rule)
            emits, more = emits_of(self._tags(rule), rule.text("level"), self.catalogue, self.technique)
            rule_id = self._rule_id(rule)
            files = {}
            for draft in drafts:
                name, text, note = self._written(rule, draft, place, emits, rule_id)
                files[name] = text
                notes += [note] if note else []
        except Refusal as error:
            return self._told(rule, reason=str(error))
        ids = tuple(f"{rule_id}{draft.suffix}" for draft in drafts)
        return self._told(rule, files=files, rule_ids=ids, notes=tuple(dict.fromkeys((*notes, *more))))

    def _told(self, rule: SigmaDocument, **more: Any) -> Imported:
        return Imported(rule.where, rule.text("title"), rule.ident, **more)

    def _plain(self, rule: SigmaDocument) -> tuple[list[_Draft], Place, list[str]]:
        place = place_of(rule)
        part, notes = carry(rule, place)
        return [_Draft("", part.form, (place.kind,), part.ways, None)], place, notes

    def _correlated(
        self, rule: SigmaDocument, known: Mapping[str, SigmaDocument]
    ) -> tuple[list[_Draft], Place, list[str]]:
        bases, notes = [], []
        said = correlation_of(rule)
        for name in names_of(said):
            if name not in known or is_correlation(known[name]):
                raise Refusal(f"it speaks of {name[:60]}, which is no rule here")
            place = place_of(known[name])
            part, left = carry(known[name], place)
            bases.append(Base(known[name], place, part))
            notes += [f"{name}: {note}" for note in left]
        if not bases:
            raise Refusal("it names no rules")
        found, more = correlate(said, bases)
        many = len(found) > 1
        drafts = [
            _Draft(f"-{n}" if many else "", one.match, one.kinds, (), one.example)
            for n, one in enumerate(found, start=1)
        ]
        if many:
            notes.append(f"any order: each of {len(found)} orders is a rule")
        self._of_bases[rule.where] = [tag for base in bases for tag in base.document.texts("tags")]
        return drafts, bases[0].place, [*notes, *more]

    def _tags(self, rule: SigmaDocument) -> list[str]:
        """Its own tags; a correlation without any has those of its rules."""
        own = rule.texts("tags")
        return (
            own
            if any(tag.lower().startswith("attack.t") for tag in own)
            else [*own, *self._of_bases.get(rule.where, ())]
        )

    def _rule_id(self, rule: SigmaDocument) -> str:
        found = _HEX.match(rule.text("id").lower())
        rule_id = f"SG-{found[0]}" if found else f"SG-{slug(rule.ident, 40)}"
        other = self._taken.setdefault(rule_id, rule.where)
        if other != rule.where:
            raise Refusal(f"its id begins like that of {other}")
        return rule_id

    def _written(
        self,
        rule: SigmaDocument,
        draft: _Draft,
        place: Place,
        emits: Sequence[Mapping[str, Any]],
        rule_id: str,
    ) -> tuple[str, str, str]:
        """File name, text and what is to be said of one rule, which loads and passes its own examples. Raises Refusal."""
        said = self._said(rule, draft, emits, f"{rule_id}{draft.suffix}")
        name = f"sigma_{slug(rule.file.stem, 90)}{draft.suffix.replace('-', '_')}.yaml"
        compiled = self._loaded(_text(said), name)
        tests, note = self._tests(compiled, draft, place)
        said["tests"] = tests
        said["rule_version"] = self.versions(name, _text(said))
        self._loaded(_text(said), name)
        return name, _text(said), note

    def _said(
        self, rule: SigmaDocument, draft: _Draft, emits: Sequence[Mapping[str, Any]], rule_id: str
    ) -> dict[str, Any]:
        author = _plain(rule.text("author")) or "not named"
        licence = _plain(rule.text("license")) or self.licence or "not stated"
        told = _plain(rule.text("description") or rule.text("title"))
        by = f"\nBy {author[:600]}, after Sigma ({licence[:200]})."
        return {
            "rule_id": rule_id,
            "rule_version": 1,
            "name": slug(rule.text("title"), 80) or rule_id.lower().replace("-", "_"),
            "description": told[: MAX_DESCRIPTION - len(by)] + by,
            "applies_to": list(draft.kinds),
            "match": dict(draft.match),
            "emits": [dict(emit) for emit in emits],
            "literal_because": "a rule of Sigma's: it names what its author saw",
            "origin": {
                "format": "sigma", "id": rule.ident[:200], "author": author[:1000], "licence": licence[:200],
                "level": rule.text("level")[:40], "status": rule.text("status")[:40],
            },
            "evidence_fields": ["command_text"] if "command" in draft.kinds else ["method", "raw_url", "user_agent"],
            "references": rule.texts("references")[:64],
        }  # fmt: skip

    def _loaded(self, text: str, name: str) -> CompiledRule:
        if len(text.encode()) > MAX_FILE_BYTES:
            raise Refusal(f"it would be over {MAX_FILE_BYTES // 1024} KiB")
        rule, errors = load_bytes(text.encode(), name, catalogue=self.catalogue)
        if rule is None:
            raise Refusal("; ".join(error.message for error in errors))
        if failed := run_rule_tests([rule]):
            raise Refusal(f"it does not hold for its own example: {failed[0].message}")
        return rule

    def _tests(self, rule: CompiledRule, draft: _Draft, place: Place) -> tuple[dict[str, Any], str]:
        if rule.correlation is not None:
            example = draft.example
            harmless = None
        else:
            example, harmless = example_of(rule, draft.ways, place), harmless_of(rule, draft.ways, place)
            if example is None and any(draft.ways):
                raise Refusal(f"nothing that a {_EVENTS[place.kind]} says makes it hold")
        tests: dict[str, Any] = {} if example is None else {"match": [example]}
        if harmless is not None:
            tests["no_match"] = [harmless]
        return (
            tests,
            "" if example is not None else "no example could be made of it: try it with `rules test`",
        )


def _has_to_itself(rule: SigmaDocument) -> list[str]:
    """The rules of a correlation that are not to fire by themselves; none of one that is not read, which is told later."""
    try:
        said = correlation_of(rule)
    except Refusal:
        return []
    return [] if said.generate else names_of(said)


def licence_beside(directory: Path) -> str:
    """The licence that a file in the directory of the rules, or in one above, speaks of: Sigma's own, else its first line."""
    start = directory.resolve()
    for folder in [start, *start.parents][: _UP + 1]:
        for name in _LICENCES:
            if (found := folder / name).is_file():
                with found.open("r", encoding="utf-8", errors="replace") as handle:
                    return _licence_in(handle.read(_LICENCE_CHARS))
    return ""


def _licence_in(text: str) -> str:
    if (named := _DRL.search(text)) is not None:
        return f"Detection Rule License (DRL) {named[1] or ''}".strip()
    return next((line for line in (_plain(line.strip(" #*")) for line in text.splitlines()) if line), "")[
        :200
    ]


def _plain(text: str) -> str:
    return _CONTROL.sub(" ", text).strip()


def _text(said: Mapping[str, Any]) -> str:
    body = yaml.safe_dump(
        dict(said), sort_keys=False, allow_unicode=True, width=110, default_flow_style=False
    )
    return SCHEMA_LINE + str(body)
