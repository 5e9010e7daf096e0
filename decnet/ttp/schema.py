"""The shape of a rule file. Meaning that needs the catalogue or a regex compiler is checked by the loader."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

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
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd])\Z")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_FORMS = ("pattern", "op", "any", "all", "not_", "kind", "sequence")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=False)


def _seconds(text: str) -> str:
    if not _DURATION.match(text):
        raise ValueError("a duration is a number with s, m, h or d, such as 60s")
    return text


def duration_s(text: str) -> float:
    """Seconds of a duration such as ``60s``, ``5m``, ``1h``, ``2d``. ValueError when it is none."""
    match = _DURATION.match(text)
    if not match:
        raise ValueError(f"not a duration: {text!r}")
    return float(match[1]) * _SECONDS[match[2]]


class WindowSchema(_Strict):
    """So many hits within so long, for one key."""

    count: int = Field(ge=1, le=100_000)
    within: str
    by: list[str] = Field(default_factory=lambda: ["session_id"], min_length=1, max_length=4)
    distinct: str | None = None

    _within = field_validator("within")(_seconds)


class StepSchema(_Strict):
    """One step of a sequence."""

    field: str | None = None
    op: Op | None = None
    value: Scalar | list[Scalar] | None = None
    pattern: str | None = None
    source_kind: str | None = None


class SequenceSchema(_Strict):
    """Steps in order within so long, for one key."""

    steps: list[StepSchema] = Field(min_length=2, max_length=16)
    within: str
    by: list[str] = Field(default_factory=lambda: ["session_id"], min_length=1, max_length=4)

    _within = field_validator("within")(_seconds)


class MatchSchema(_Strict):
    """A condition; exactly one of its forms."""

    field: str | None = Field(None, min_length=1, max_length=120)
    pattern: str | None = Field(None, min_length=1, max_length=8192)
    op: Op | None = None
    value: Scalar | list[Scalar] | None = None
    any: list[MatchSchema] | None = Field(None, min_length=1, max_length=64)
    all: list[MatchSchema] | None = Field(None, min_length=1, max_length=64)
    not_: MatchSchema | None = Field(None, alias="not")
    kind: str | None = Field(None, pattern=r"^lifter:[a-z0-9_]+$")
    knobs: dict[str, Any] | None = None
    sequence: SequenceSchema | None = None
    window: WindowSchema | None = None
    scope: Literal["view", "line"] | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        forms = [name.rstrip("_") for name in _FORMS if getattr(self, name) is not None]
        if len(forms) != 1:
            wanted = "exactly one of pattern, op, any, all, not, kind, sequence"
            raise ValueError(f"{wanted}; found {', '.join(forms) or 'none'}")
        self._check_leaf()
        if self.window is not None and forms[0] in ("kind", "sequence"):
            raise ValueError("window cannot stand beside kind or sequence")
        if self.knobs is not None and self.kind is None:
            raise ValueError("knobs stand beside kind only")
        return self

    def _check_leaf(self) -> None:
        if self.op is None:
            if self.value is not None:
                raise ValueError("value needs an op")
        elif self.field is None:
            raise ValueError("an op names its field")
        elif self.op != "exists" and self.value is None:
            raise ValueError(f"op {self.op} needs a value")
        elif self.op == "in" and not isinstance(self.value, list):
            raise ValueError("op in needs a list as value")
        elif self.op in ("gt", "gte", "lt", "lte") and not _is_number(self.value):
            raise ValueError(f"op {self.op} needs a number")
        elif self.op in ("pattern", "contains", "startswith", "endswith") and not isinstance(self.value, str):
            raise ValueError(f"op {self.op} needs text")
        if self.field is not None and (self.pattern is None and self.op is None):
            raise ValueError("field stands beside pattern or op only")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


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
    """A rule's own examples: text (the default field), a payload, or a list of payloads with ``at``."""

    __test__ = False

    match: list[str | dict[str, Any] | list[dict[str, Any]]] = Field(default_factory=list)
    no_match: list[str | dict[str, Any] | list[dict[str, Any]]] = Field(default_factory=list)


class RuleSchema(_Strict):
    """One rule file."""

    rule_id: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")
    rule_version: int = Field(ge=1, le=2**31 - 1)
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_]{0,79}$")
    description: str = Field(min_length=1, max_length=4000)
    applies_to: list[str] = Field(min_length=1)
    match: MatchSchema
    emits: list[EmitSchema]
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
    def _needs_field(self) -> Self:
        if not self.emits and self.match.kind is None:
            raise ValueError("a rule emits at least one tag")
        if _bare_pattern(self.match) and (
            len(self.applies_to) > 1 or self.applies_to[0] not in DEFAULT_FIELDS
        ):
            raise ValueError("pattern needs a field: no one default for " + ", ".join(self.applies_to))
        keys = [(e.technique_id, e.sub_technique_id) for e in self.emits]
        if len(set(keys)) != len(keys):
            raise ValueError("two emits of one technique: the tactic is no part of the tag id")
        return self


def _bare_pattern(match: MatchSchema) -> bool:
    inner = [*(match.any or ()), *(match.all or ()), *([match.not_] if match.not_ else ())]
    return (match.pattern is not None and match.field is None) or any(map(_bare_pattern, inner))
