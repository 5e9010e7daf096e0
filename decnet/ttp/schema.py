"""The shape of a rule file. Meaning that needs the catalogue or a regex compiler is checked by the loader."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from decnet.durations import parse_finite
from decnet.ttp.kinds import DEFAULT_FIELDS, KNOWN_SOURCE_KINDS

Op = Literal[
    "pattern",
    "equals",
    "in",
    "contains",
    "startswith",
    "endswith",
    "exists",
    "gt",
    "gte",
    "lt",
    "lte",
    "cidr",
]
Scalar = str | int | float | bool
_FORMS = ("pattern", "op", "any", "all", "not_", "kind", "sequence")
MAX_WITHIN_S = 30 * 86_400.0
MAX_PATTERN = 8192
"""Characters of an expression."""
MAX_CONDITIONS = 64
"""Conditions in one list of ``any`` or ``all``."""
MAX_DESCRIPTION = 4000


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=False)


def _seconds(text: str) -> str:
    if not 0 < parse_finite(text) <= MAX_WITHIN_S:
        raise ValueError("a duration lies above 0 and is 30d at most")
    return text


Within = Annotated[str, AfterValidator(_seconds)]
Name = Annotated[str, Field(min_length=1, max_length=120)]
Key = Annotated[list[Name], Field(min_length=1, max_length=4)]


class WindowSchema(_Strict):
    """So many hits within so long, for one key."""

    count: int = Field(ge=1, le=10_000, description="Hits, or distinct values, that complete the rule.")
    within: Within = Field(description="Longest time from the first to the last, such as 60s, 5m, 1h, 2d.")
    by: Key = Field(
        default_factory=lambda: ["session_id"], description="Fields that the hits must have in common."
    )
    distinct: Name | None = Field(None, description="Field whose different values are counted.")


class ConditionSchema(_Strict):
    """A condition over one view of an event; exactly one of its forms."""

    field: Name | None = None
    pattern: str | None = Field(None, min_length=1, max_length=MAX_PATTERN)
    op: Op | None = None
    value: Scalar | list[Scalar] | None = None
    any: list[ConditionSchema] | None = Field(None, min_length=1, max_length=MAX_CONDITIONS)
    all: list[ConditionSchema] | None = Field(None, min_length=1, max_length=MAX_CONDITIONS)
    not_: ConditionSchema | None = Field(None, alias="not")

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        known = [name for name in _FORMS if name in type(self).model_fields]
        forms = [name.rstrip("_") for name in known if getattr(self, name) is not None]
        if len(forms) != 1:
            wanted = ", ".join(name.rstrip("_") for name in known)
            raise ValueError(f"exactly one of {wanted}; found {', '.join(forms) or 'none'}")
        self._check_leaf()
        self._check_beside(forms[0])
        return self

    def _check_beside(self, form: str) -> None:
        """What may stand beside the form; for subclasses."""

    def _check_leaf(self) -> None:
        if self.op is None:
            if self.value is not None:
                raise ValueError("value needs an op")
        elif self.field is None:
            raise ValueError("an op names its field")
        else:
            _check_value(self.op, self.value)
        if self.field is not None and (self.pattern is None and self.op is None):
            raise ValueError("field stands beside pattern or op only")


def _check_value(op: str, value: object) -> None:
    """Raises ValueError for a value that the op cannot use."""
    if value is None and op != "exists":
        raise ValueError(f"op {op} needs a value")
    fits, wanted = _VALUES[op]
    if not fits(value):
        raise ValueError(f"op {op} {wanted}")


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_TEXT, _NUMBER = (_is_text, "needs text"), (_is_number, "needs a number")
_VALUES: dict[str, tuple[Callable[[object], bool], str]] = {
    "exists": (lambda value: value is None or isinstance(value, bool), "takes true, false or no value"),
    "in": (lambda value: isinstance(value, list) and bool(value), "needs a list as value"),
    "equals": (lambda value: not isinstance(value, list), "needs one value; a list is for op in"),
    "cidr": (lambda value: _is_text(value) or isinstance(value, list), "needs an address range or a list"),
    **dict.fromkeys(("pattern", "contains", "startswith", "endswith"), _TEXT),
    **dict.fromkeys(("gt", "gte", "lt", "lte"), _NUMBER),
}


class StepSchema(ConditionSchema):
    """One step of a sequence."""

    source_kind: str | None = Field(None, description="Only events of this kind; any of applies_to without.")


class SequenceSchema(_Strict):
    """Steps in order within so long, for one key."""

    steps: list[StepSchema] = Field(min_length=2, max_length=16)
    within: Within = Field(description="Longest time from the first step to the last, such as 5m.")
    by: Key = Field(
        default_factory=lambda: ["session_id"], description="Fields that the events must have in common."
    )


class MatchSchema(ConditionSchema):
    """What a rule looks for: a condition, a lifter's predicate, or a sequence; ``window`` counts a condition."""

    kind: str | None = Field(None, pattern=r"^lifter:[a-z0-9_]+$")
    knobs: dict[str, Any] | None = None
    sequence: SequenceSchema | None = None
    window: WindowSchema | None = None
    scope: Literal["view", "line"] | None = Field(
        None, description="line holds the rule to whole command lines; view is the default."
    )

    def _check_beside(self, form: str) -> None:
        if self.window is not None and form in ("kind", "sequence"):
            raise ValueError("window cannot stand beside kind or sequence")
        if self.knobs is not None and self.kind is None:
            raise ValueError("knobs stand beside kind only")
        if self.scope is not None and self.kind is not None:
            raise ValueError("scope cannot stand beside kind")


class EmitSchema(_Strict):
    """One tag of a rule."""

    tactic: str = Field(pattern=r"^TA\d{4}$")
    technique_id: str = Field(pattern=r"^T\d{4}$")
    sub_technique_id: str | None = Field(None, pattern=r"^T\d{4}\.\d{3}$")
    confidence: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]

    @field_validator("confidence", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def _same_parent(self) -> Self:
        if self.sub_technique_id and not self.sub_technique_id.startswith(f"{self.technique_id}."):
            raise ValueError(f"{self.sub_technique_id} is no sub-technique of {self.technique_id}")
        return self


class TestsSchema(_Strict):
    """A rule's own examples: text (the default field), a payload, or a list of payloads with ``at``.

    A list of texts is a session of commands of which the last one is meant; ``{session: [...], fires: 2}`` names
    another line, counted from 1, and ``login: [default_pair]`` beside it how the session got in.
    """

    __test__ = False

    match: list[str | dict[str, Any] | list[str] | list[dict[str, Any]]] = Field(default_factory=list)
    no_match: list[str | dict[str, Any] | list[str] | list[dict[str, Any]]] = Field(default_factory=list)


class OriginSchema(_Strict):
    """Where a rule came from that others wrote in another format; kept with it, as their licences ask."""

    format: Literal["sigma"]
    id: str = Field(min_length=1, max_length=200)
    author: str = Field(min_length=1, max_length=1000)
    licence: str = Field(min_length=1, max_length=200)
    level: str = Field(max_length=40)
    status: str = Field(max_length=40)


class RuleSchema(_Strict):
    """One rule file."""

    rule_id: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")
    rule_version: int = Field(ge=1, le=2**31 - 1)
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_]{0,79}$")
    description: str = Field(min_length=1, max_length=MAX_DESCRIPTION)
    applies_to: list[str] = Field(min_length=1)
    match: MatchSchema
    emits: list[EmitSchema]
    replaces: list[Annotated[str, Field(pattern=r"^T\d{4}(\.\d{3})?$")]] = Field(
        default_factory=list,
        max_length=16,
        description="Techniques that other rules find on the same command and that this one knows better.",
    )
    literal_because: str | None = Field(
        None,
        min_length=20,
        max_length=400,
        description="Why the rule knows certain names or places instead of a kind; without it, it must survive others.",
    )
    origin: OriginSchema | None = None
    external: str | None = Field(
        None,
        min_length=20,
        max_length=400,
        description="Why nothing that comes with this program makes its events: a producer of your own has to.",
    )
    evidence_fields: list[str] = Field(default_factory=list, max_length=32)
    references: list[str] = Field(default_factory=list, max_length=64)
    tests: TestsSchema = TestsSchema()

    @field_validator("applies_to")
    @classmethod
    def _known_kinds(cls, value: list[str]) -> list[str]:
        unknown = sorted(set(value) - KNOWN_SOURCE_KINDS)
        if unknown:
            raise ValueError(
                f"unknown source kind {unknown[0]!r}; known: {', '.join(sorted(KNOWN_SOURCE_KINDS))}"
            )
        if len(set(value)) != len(value):
            raise ValueError("a source kind stands twice")
        return value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.emits and self.match.kind is None:
            raise ValueError("a rule emits at least one tag")
        self._check_fields()
        keys = [(e.technique_id, e.sub_technique_id) for e in self.emits]
        if len(set(keys)) != len(keys):
            raise ValueError("two emits of one technique: the tactic is no part of the tag id")
        return self

    def _check_fields(self) -> None:
        """A pattern without a field needs one kind with a default; steps may name that kind themselves."""
        steps = self.match.sequence.steps if self.match.sequence else []
        outside = sorted({s.source_kind for s in steps if s.source_kind} - set(self.applies_to))
        if outside:
            raise ValueError(f"a step's source_kind {outside[0]!r} is not in applies_to")
        for part, kinds in (
            (self.match, self.applies_to),
            *((s, [s.source_kind] if s.source_kind else self.applies_to) for s in steps),
        ):
            if _bare_pattern(part) and (len(kinds) > 1 or kinds[0] not in DEFAULT_FIELDS):
                raise ValueError("pattern needs a field: no one default for " + ", ".join(kinds))


def _bare_pattern(match: ConditionSchema) -> bool:
    inner = [*(match.any or ()), *(match.all or ()), *([match.not_] if match.not_ else ())]
    return (match.pattern is not None and match.field is None) or any(map(_bare_pattern, inner))
