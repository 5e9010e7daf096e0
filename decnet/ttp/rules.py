"""A rule after loading, and the state an operator may give it. Plain frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from decnet.errors import SourcePosition
from decnet.ttp.conditions import Condition
from decnet.ttp.windows import Correlation

if TYPE_CHECKING:
    from pydantic import BaseModel

    from decnet.attack.catalogue import Catalogue

    M = TypeVar("M", bound=BaseModel)

StateName = Literal["enabled", "disabled", "clipped"]


@dataclass(frozen=True, slots=True)
class Emit:
    """One tag of a rule; ``confidence`` 0..1. ``written_*`` are the rule's own ids, which the tag id uses."""

    tactic: str
    technique_id: str
    sub_technique_id: str | None
    confidence: float
    written_technique_id: str
    written_sub_technique_id: str | None
    url: str = ""

    def scaled(self, factor: float) -> Emit:
        """The same tag with its confidence times ``factor``, kept within 0..1."""
        return (
            self if factor == 1.0 else replace(self, confidence=min(max(self.confidence * factor, 0.0), 1.0))
        )


def make_emit(
    catalogue: Catalogue, tactic: str, technique_id: str, sub_technique_id: str | None, confidence: float
) -> Emit:
    """A tag checked against the catalogue; a revoked id gives its successor. Raises ValueError with the reason."""
    written = sub_technique_id or technique_id
    found = catalogue.resolve(written)
    if found is None:
        reason = "was revoked" if catalogue.get(written) else "is unknown"
        raise ValueError(f"{written} {reason} in ATT&CK {catalogue.release}")
    if tactic not in found.tactics:
        raise ValueError(f"{written} does not belong to {tactic}, only to {', '.join(found.tactics)}")
    parent, dot, _ = found.technique_id.partition(".")
    return Emit(
        tactic,
        parent,
        found.technique_id if dot else None,
        confidence,
        technique_id,
        sub_technique_id,
        found.url,
    )


@dataclass(frozen=True, slots=True)
class RuleState:
    """What an operator decided about a rule; ``expires_at`` and ``set_at`` are aware UTC times."""

    state: StateName = "enabled"
    confidence_max: float | None = None
    expires_at: datetime | None = None
    reason: str | None = None
    set_by: str | None = None
    set_at: datetime | None = None

    def __post_init__(self) -> None:
        if self.state not in ("enabled", "disabled", "clipped"):
            raise ValueError(f"state must be enabled, disabled or clipped: {self.state!r}")
        if self.confidence_max is not None and not 0 <= self.confidence_max <= 1:
            raise ValueError("confidence_max lies within 0..1")
        if self.state == "clipped" and self.confidence_max is None:
            raise ValueError("a clipped rule needs confidence_max")
        if self.expires_at is not None and self.expires_at.tzinfo is None:
            raise ValueError("expires_at must be timezone-aware")

    def expired(self, now: datetime | None = None) -> bool:
        """Whether the state has ended; an expired state counts as the default one."""
        return self.expires_at is not None and self.expires_at <= (now or datetime.now(UTC))

    def effective(self, now: datetime | None = None) -> RuleState:
        """This state, or the default one when it has expired."""
        return DEFAULT_STATE if self.expired(now) else self

    def confidence(self, base: float) -> float | None:
        """The confidence of a tag under this state, never up; None when the rule must not fire."""
        if self.state == "disabled":
            return None
        if self.state == "clipped" and self.confidence_max is not None:
            return min(base, self.confidence_max)
        return base


DEFAULT_STATE = RuleState()


class GivenKnobs:
    """The knobs of a lifter rule as its file has them; their model checks them once."""

    __slots__ = ("_checked", "given")

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given = given
        self._checked: Any = None

    def checked(self, model: type[M]) -> M:
        """As an instance of the kind's own model. Raises ValidationError."""
        if self._checked is None:
            self._checked = model.model_validate(self.given)
        return self._checked  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """One rule, ready to match. ``content_hash`` is the hex SHA-256 of the file it came from.

    A lifter rule has ``lifter`` (the kind without ``lifter:``) and its ``knobs``, and no condition.
    A window or sequence rule has ``correlation``; its condition says which events count.
    """

    rule_id: str
    rule_version: int
    name: str
    description: str
    applies_to: frozenset[str]
    emits: tuple[Emit, ...]
    condition: Condition | None = field(repr=False, compare=False)
    evidence_fields: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    replaces: frozenset[str] = frozenset()
    """Techniques of other rules that fall away on the command where this one fires."""
    tests_match: tuple[Any, ...] = field(default=(), repr=False, compare=False)
    tests_no_match: tuple[Any, ...] = field(default=(), repr=False, compare=False)
    scope: str = "view"
    literal_because: str | None = None
    """Why the rule is bound to names or places, where it is."""
    external: str | None = None
    """Why nothing that comes with this program makes its events, where that is so."""
    file: str = ""
    content_hash: str = ""
    superseded: int = 0
    source: str = field(default="", repr=False, compare=False)
    lifter: str | None = None
    knobs: GivenKnobs | None = field(default=None, compare=False)
    correlation: Correlation | None = field(default=None, repr=False, compare=False)
    test_places: Mapping[tuple[str, int], SourcePosition] = field(
        default_factory=dict, repr=False, compare=False
    )

    def reads(self) -> frozenset[str]:
        """The fields that it may ask for, for what it holds and for its evidence."""
        names = frozenset(self.evidence_fields)
        if self.condition is not None:
            names |= self.condition.reads()
        if self.correlation is not None:
            names |= {self.correlation.distinct or ""} - {""}
            names = names.union(*(step.condition.reads() for step in self.correlation.steps))
        return names
