"""The bytes of a rule file → a compiled rule, or every error in them with its place."""

from __future__ import annotations

import hashlib
from typing import Any

from pydantic import ValidationError

from decnet.attack.catalogue import Catalogue
from decnet.documents import Document
from decnet.durations import parse_finite
from decnet.errors import RuleError, SourcePosition
from decnet.patterns import Finder, PatternError
from decnet.ttp.conditions import (
    Condition,
    Either,
    Every,
    Negation,
    Pattern,
    compare,
)
from decnet.ttp.kinds import DEFAULT_FIELDS
from decnet.ttp.lifter_registry import find_kind
from decnet.ttp.rules import CompiledRule, Emit, GivenKnobs, make_emit
from decnet.ttp.schema import ConditionSchema, EmitSchema, RuleSchema
from decnet.ttp.windows import Correlation, Step
from decnet.yaml_places import parse_strict

Loc = tuple[int | str, ...]


MAX_ERRORS = 100
"""Errors of one file that are told, the last one with the number of the others: each is a line in log, list and row."""


def compiled(raw: bytes, name: str, catalogue: Catalogue) -> tuple[CompiledRule | None, list[RuleError]]:
    """The rule in the bytes of a file called ``name``, or its errors, :data:`MAX_ERRORS` at most."""
    rule, errors = _compiled(raw, name, catalogue)
    if len(errors) > MAX_ERRORS:
        last = errors[MAX_ERRORS - 1]
        said = f"{len(errors) - MAX_ERRORS + 1} more errors, the first one: {last.message}"
        errors = [*errors[: MAX_ERRORS - 1], RuleError(said, last.place, last.rule_id)]
    return rule, errors


def _compiled(raw: bytes, name: str, catalogue: Catalogue) -> tuple[CompiledRule | None, list[RuleError]]:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        column = len(before.rpartition(b"\n")[2].decode("utf-8", "replace")) + 1
        return None, [RuleError("not UTF-8", SourcePosition(name, before.count(b"\n") + 1, column))]
    document, flaws = parse_strict(text, name)
    errors = [RuleError(flaw.message, flaw.place) for flaw in flaws]
    if document is None:
        return None, errors
    if not isinstance(document.value, dict):
        return None, [*errors, RuleError("a rule is a mapping", document.value_place(()))]
    return _Compiler(document, text, catalogue, errors).run()


class _Compiler:
    """One document on its way to a rule; collects what is wrong with it."""

    def __init__(self, document: Document, text: str, catalogue: Catalogue, errors: list[RuleError]) -> None:
        self.document = document
        self.text = text
        self.catalogue = catalogue
        self.errors = errors
        rule_id = document.value.get("rule_id")
        self.rule_id = rule_id if isinstance(rule_id, str) else None
        self.superseded = 0

    def run(self) -> tuple[CompiledRule | None, list[RuleError]]:
        try:
            schema = RuleSchema.model_validate(self.document.value)
        except ValidationError as error:
            self._add_validation(error)
            return None, self.errors
        correlation = self._correlation(schema)
        condition = self._whole_condition(schema, correlation)
        emits = tuple(filter(None, (self._emit(e, ("emits", i)) for i, e in enumerate(schema.emits))))
        lifter, knobs = self._lifter(schema)
        if self.errors:
            return None, self.errors
        rule = CompiledRule(
            rule_id=schema.rule_id,
            rule_version=schema.rule_version,
            name=schema.name,
            description=schema.description,
            applies_to=frozenset(schema.applies_to),
            emits=emits,
            condition=condition,
            evidence_fields=tuple(schema.evidence_fields),
            references=tuple(schema.references),
            replaces=frozenset(schema.replaces),
            tests_match=tuple(schema.tests.match),
            tests_no_match=tuple(schema.tests.no_match),
            scope=schema.match.scope or "view",
            literal_because=schema.literal_because,
            external=schema.external,
            file=self.document.file,
            content_hash=hashlib.sha256(self.text.encode()).hexdigest(),
            superseded=self.superseded,
            source=self.text,
            lifter=lifter,
            knobs=knobs,
            correlation=correlation,
            test_places=self._test_places(schema),
        )
        return rule, []

    def _error(self, message: str, place: SourcePosition) -> None:
        self.errors.append(RuleError(message, place, self.rule_id))

    def _add_validation(self, error: ValidationError, base: Loc = (), noun: str = "key") -> None:
        seen: set[tuple[str, SourcePosition]] = set()
        for item in error.errors(include_url=False, include_input=False):
            path = _real_path((*base, *item["loc"]), self.document)
            message, place = self._explain(item["type"], item["msg"], path, noun)
            if (message, place) not in seen:
                seen.add((message, place))
                self._error(message, place)

    def _explain(self, kind: str, message: str, path: Loc, noun: str) -> tuple[str, SourcePosition]:
        key = _key(path)
        if kind == "extra_forbidden":
            return f"unknown {noun} '{key}'", self.document.key_place(path)
        if kind == "missing":
            return f"missing {noun} '{key}'", self.document.value_place(path[:-1])
        text = message.removeprefix("Value error, ")
        if not path:
            path = next((where for start, where in _WHOLE if text.startswith(start)), path)
        return (f"{key}: {text}" if key else text), self.document.value_place(path)

    def _lifter(self, schema: RuleSchema) -> tuple[str | None, GivenKnobs | None]:
        """The lifter kind and its knobs, checked; errors name the key or the knob."""
        if schema.match.kind is None:
            return None, None
        place = self.document.value_place(("match", "kind"))
        kind = find_kind(schema.match.kind)
        if kind is None:
            self._error(f"unknown lifter '{schema.match.kind}'", place)
            return None, None
        outside = sorted(set(schema.applies_to) - kind.source_kinds)
        if outside:
            handled = ", ".join(sorted(kind.source_kinds))
            where = self.document.value_place(("applies_to", schema.applies_to.index(outside[0])))
            self._error(f"{schema.match.kind} does not look at {outside[0]}, only at {handled}", where)
        if not schema.emits and not kind.map_driven:
            self._error("a rule emits at least one tag", self.document.value_place(("emits",)))
        knobs = GivenKnobs(self.document.value["match"].get("knobs") or {})
        try:
            knobs.checked(kind.knobs)
            return kind.name, knobs
        except ValidationError as error:
            self._add_validation(error, ("match", "knobs"), "knob")
            return kind.name, None

    def _emit(self, emit: EmitSchema, path: Loc) -> Emit | None:
        key = "sub_technique_id" if emit.sub_technique_id else "technique_id"
        try:
            made = make_emit(
                self.catalogue, emit.tactic, emit.technique_id, emit.sub_technique_id, emit.confidence
            )
        except ValueError as error:
            wrong = "tactic" if "does not belong" in str(error) else key
            self._error(str(error), self.document.value_place((*path, wrong)))
            return None
        self.superseded += (made.sub_technique_id or made.technique_id) != (
            emit.sub_technique_id or emit.technique_id
        )
        return made

    def _test_places(self, schema: RuleSchema) -> dict[tuple[str, int], SourcePosition]:
        counts = (("match", len(schema.tests.match)), ("no_match", len(schema.tests.no_match)))
        return {(k, i): self.document.value_place(("tests", k, i)) for k, n in counts for i in range(n)}

    def _whole_condition(self, schema: RuleSchema, correlation: Correlation | None) -> Condition | None:
        """The condition of a rule; of a sequence that one of its steps holds."""
        if correlation is not None and correlation.steps:
            return Either(tuple(step.condition for step in correlation.steps))
        return self._condition(schema.match, ("match",), DEFAULT_FIELDS.get(schema.applies_to[0], ""))

    def _correlation(self, schema: RuleSchema) -> Correlation | None:
        window, sequence = schema.match.window, schema.match.sequence
        if window is not None:
            return Correlation(
                parse_finite(window.within), tuple(window.by), window.count, distinct=window.distinct
            )
        if sequence is None:
            return None
        steps = []
        for i, step in enumerate(sequence.steps):
            default = DEFAULT_FIELDS.get(step.source_kind or schema.applies_to[0], "")
            condition = self._condition(step, ("match", "sequence", "steps", i), default)
            if condition is not None:
                steps.append(Step(step.source_kind, condition))
        return Correlation(parse_finite(sequence.within), tuple(sequence.by), steps=tuple(steps))

    def _condition(self, match: ConditionSchema, path: Loc, default: str) -> Condition | None:
        """The compiled condition; None for forms that no condition judges or that are wrong."""
        if match.any is not None or match.all is not None:
            key = "any" if match.any is not None else "all"
            return self._group(match.any or match.all or [], (*path, key), default, key)
        if match.not_ is not None:
            part = self._condition(match.not_, (*path, "not"), default)
            return Negation(part) if part else None
        try:
            if match.pattern is not None:
                return self._pattern(match.field or default, match.pattern)
            if match.op == "pattern":
                return self._pattern(match.field or default, str(match.value))
            return compare(match.field or default, match.op, match.value) if match.op else None
        except PatternError as error:
            key = "pattern" if match.pattern is not None else "value"
            self._error(str(error), self.document.value_place((*path, key)))
            return None

    def _group(self, parts: list[ConditionSchema], path: Loc, default: str, key: str) -> Condition | None:
        built = [self._condition(part, (*path, i), default) for i, part in enumerate(parts)]
        known = tuple(part for part in built if part is not None)
        return Either(known) if key == "any" else Every(known)

    def _pattern(self, field_name: str, pattern: str) -> Condition:
        return Pattern(field_name, pattern, Finder(pattern))


_WHOLE: tuple[tuple[str, Loc], ...] = (
    ("two emits", ("emits",)),
    ("a rule emits", ("emits",)),
    ("pattern needs", ("match",)),
    ("a step's", ("match", "sequence", "steps")),
)
"""Where to look for what is wrong with the rule as a whole, by how it is told."""


def _key(path: Loc) -> str:
    """The last key of a path; an element of a list goes by the list's name."""
    if len(path) > 1 and isinstance(path[-1], int):
        return f"{path[-2]}[{path[-1]}]"
    return str(path[-1]) if path else ""


def _real_path(loc: tuple[Any, ...], document: Document) -> Loc:
    """pydantic's location without the names of union members, which are no keys of the file."""
    path: Loc = ()
    for i, part in enumerate(loc):
        if (*path, part) in document.values or i == len(loc) - 1:
            path = (*path, part)
    if path and path not in document.values and "[" in str(path[-1]):
        path = path[:-1]
    if path and path not in document.values and path[-1] in ("str", "int", "float", "bool"):
        path = path[:-1]
    return path
