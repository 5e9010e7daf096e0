"""The forms that change a rule: disable, enable, clip."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import yaml

from decnet_tui.actions.forms import Field, Form, parse_duration
from decnet_tui.actions.rules import RuleChange, meanwhile
from decnet_tui.model.access import RuleRow
from decnet_tui.model.words import clock, counted

DURATIONS = ("1h", "15m", "4h", "24h", "forever")
STEP = 0.05
VERBS = {"D": ("disable", "disabled"), "E": ("enable", "enabled"), "C": ("clip", "clipped")}


def emitted(text: str) -> list[tuple[str, float]]:
    """(technique, confidence) of every tag that a rule emits, from its YAML; empty when it cannot be told."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError:
        return []
    emits = document.get("emits") if isinstance(document, dict) else None
    return [found for e in emits or () if isinstance(e, dict) and (found := _emit(e)) is not None]


def _emit(entry: dict[str, Any]) -> tuple[str, float] | None:
    confidence = entry.get("confidence")
    if isinstance(confidence, bool) or not isinstance(confidence, (int, float)):
        return None
    names = ("sub_technique_id", "sub_technique", "technique_id", "technique")
    return str(next((entry[n] for n in names if entry.get(n)), "?")), float(confidence)


def base_confidence(text: str) -> float | None:
    """The greatest confidence a rule emits, from its YAML; None when it cannot be told."""
    return max((confidence for _, confidence in emitted(text)), default=None)


def stepped(value: str, by: int, top: float) -> str:
    """A ceiling so many steps on, between 0 and ``top``; steps fall on multiples of 0.05."""
    try:
        number = float(value)
    except ValueError:
        number = top
    return f"{min(max((round(number / STEP) + by) * STEP, 0.0), top):.2f}"


def _expiry(value: str) -> str:
    try:
        seconds = parse_duration(value)
    except ValueError:
        return "or type 5s, 90m, 2d, until 18:00"
    if seconds is None:
        return "until changed"
    now = time.time()
    day, moment = clock(now, "date")[:10], clock(now + seconds, "date")
    return f"expires {moment.removeprefix(day).strip()}Z  or type 90m"


class RuleForm(Form):
    """The form for one rule and one verb (``D``, ``E`` or ``C``).

    ``fired`` counts the firings of the last five minutes, those of the last day are the row's; ``floor`` is the confidence below which tags
    are not stored.
    """

    def __init__(self, row: RuleRow, verb: str, *, fired: int = 0, floor: float = 0.3) -> None:
        self.row, self.verb, self.fired, self.floor = row, verb, fired, floor
        self.seen = row
        """The row as the form has shown it."""
        self.emits = emitted(row.get("yaml", ""))
        self.base = base_confidence(row.get("yaml", ""))
        self.title = f"{self.word.upper()} {row['rule_id']} {row.get('name', '')}"
        super().__init__([maker() for maker in self._makers()])

    def _makers(self) -> Sequence[Callable[[], Field]]:
        duration: Callable[[], Field] = lambda: Field("for", DURATIONS[0], choices=DURATIONS, hint=_expiry)  # noqa: E731
        reason: Callable[[], Field] = lambda: Field("reason", free=True)  # noqa: E731
        return {"C": (self._ceiling_field, duration, reason), "E": (reason,)}.get(
            self.verb, (duration, reason)
        )

    def _ceiling_field(self) -> Field:
        ceiling, top = self.row.get("confidence_max"), 1.0 if self.base is None else self.base
        start = f"{ceiling:.2f}" if ceiling is not None else stepped(str(top), -1, top)
        own = "unknown" if self.base is None else f"{self.base:.2f}"
        return Field("max", start, step=lambda value, by: stepped(value, by, top),
                     hint=lambda _: f"left/right 0.05; the rule's own confidence is {own}")  # fmt: skip

    @property
    def word(self) -> str:
        """What the form does, as a verb."""
        return VERBS[self.verb][0]

    def question(self) -> str:
        """What ``y`` does."""
        if self.verb == "E":
            return "enable"
        length = self.value("for")
        return f"{self.word} {'for good' if length == 'forever' else f'for {length}'}"

    def effect(self) -> list[str]:
        """What would stop, or fall below the floor."""
        day = counted(self.row.get("fired_24h", 0), "hit")
        hits = f"{day} in the last 24 h, {self.fired} in the last 5 min,"
        if self.verb == "E":
            return ["the rule fires again with its own confidence"]
        techniques = ", ".join(sorted({technique for technique, _ in self.emits}))
        if self.verb == "D":
            return [f"{hits} would stop being tagged{f' ({techniques})' if techniques else ''}"]
        return [f"{hits} would be tagged with at most {self.value('max')}", self._fallen()]

    def _fallen(self) -> str:
        """The preview of a ceiling: which tags would no longer be stored."""
        try:
            ceiling = self._ceiling()
        except ValueError:
            return "-"
        lost = [t for t, confidence in self.emits if min(confidence, ceiling) < self.floor]
        if not lost:
            return f"nothing falls below the floor {self.floor:.2f}"
        return f"below the floor {self.floor:.2f}, no longer stored: {', '.join(sorted(set(lost)))}"

    def change(self, now: float) -> RuleChange:
        """What would be sent at ``now`` (epoch seconds). Raises ValueError that says what is wrong."""
        ceiling = self._ceiling() if self.verb == "C" else None
        seconds = None if self.verb == "E" else parse_duration(self.value("for"))
        expires = None if seconds is None else now + seconds
        reason = self.value("reason").strip() or None
        return RuleChange(
            self.row["rule_id"], VERBS[self.verb][1], ceiling, expires, reason, expected=self.seen
        )

    def _ceiling(self) -> float:
        try:
            value = float(self.value("max"))
        except ValueError:
            raise ValueError("max is a number from 0 to 1, such as 0.40") from None
        top = 1.0 if self.base is None else self.base
        if not 0.0 <= value <= top:
            raise ValueError(f"max lies between 0 and this rule's own confidence {top:.2f}")
        return value

    def notice(self, row: RuleRow | None) -> None:
        """The store's row now: says so when somebody else changed it meanwhile; who goes on then, means it."""
        if why := meanwhile(self.row, row):
            self.warning = why
        self.seen = row or self.seen
