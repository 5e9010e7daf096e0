"""The inline form that changes a rule: plain data, so that it is tested without a terminal.

Steps: ``edit`` (Tab between fields, Enter reviews) and ``confirm`` (a typed ``y`` sends).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from decnet_tui.session import RuleRow

DURATIONS = ("1h", "15m", "4h", "24h", "forever")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[smhd])+\Z")
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
MAX_SECONDS = 3650 * 86_400.0
MAX_REASON = 200
STEP = 0.05
VERBS = {"D": ("disable", "disabled"), "E": ("enable", "enabled"), "C": ("clip", "clipped")}


def parse_duration(text: str) -> float | None:
    """Seconds of ``1h30m``, ``5s``, ``2d``; None for ``forever``. Raises ValueError that says the shape."""
    cleaned = text.strip().lower()
    if cleaned == "forever":
        return None
    if not _DURATION.match(cleaned):
        raise ValueError("for how long? write 5s, 15m, 1h30m, 2d or forever")
    seconds = sum(float(n) * _UNITS[unit] for n, unit in _PART.findall(cleaned))
    if not 0 < seconds <= MAX_SECONDS:
        raise ValueError("a duration lies between 1s and 3650d")
    return seconds


def base_confidence(text: str) -> float | None:
    """The greatest confidence a rule emits, from its YAML; None when it cannot be told."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError:
        return None
    emits = document.get("emits") if isinstance(document, dict) else None
    found = [e.get("confidence") for e in emits or () if isinstance(e, dict)]
    numbers = [float(c) for c in found if isinstance(c, (int, float)) and not isinstance(c, bool)]
    return max(numbers, default=None)


@dataclass(frozen=True)
class Change:
    """What the form sends. ``expires_at`` is epoch seconds or None for ever."""

    rule_id: str
    state: str
    confidence_max: float | None
    expires_at: float | None
    reason: str | None

    def agrees(self, row: RuleRow | None) -> bool:
        """Whether the store, read back, holds just this."""
        if row is None or row["state"] != self.state:
            return False
        return _near(row.get("confidence_max"), self.confidence_max, 1e-6) and _near(
            row.get("expires_at"), self.expires_at, 1.0
        )


def _near(a: float | None, b: float | None, tolerance: float) -> bool:
    if a is None or b is None:
        return a is b
    return abs(a - b) <= tolerance


@dataclass
class RuleForm:
    """The form for one rule and one verb (``D``, ``E`` or ``C``)."""

    row: RuleRow
    verb: str
    step: str = "edit"
    at: int = 0
    choice: int = 0
    values: dict[str, str] = field(default_factory=dict)
    error: str = ""
    warning: str = ""
    fresh: bool = True

    def __post_init__(self) -> None:
        self.values = {"for": DURATIONS[0], "reason": ""}
        self.base = base_confidence(self.row.get("yaml", ""))
        if self.verb == "C":
            ceiling = self.row.get("confidence_max")
            start = ceiling if ceiling is not None else max(STEP, (self.base or 1.0) - STEP)
            self.values["max"] = f"{start:.2f}"

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields in the order of Tab."""
        return {"C": ("max", "for", "reason"), "E": ("reason",)}.get(self.verb, ("for", "reason"))

    @property
    def field(self) -> str:
        """The field with the cursor."""
        return self.fields[self.at]

    @property
    def word(self) -> str:
        """What the form does, as a verb."""
        return VERBS[self.verb][0]

    def key(self, key: str, character: str | None) -> str:
        """One key; returns ``cancel``, ``send`` or an empty string for "go on"."""
        self.error = ""
        if self.step == "confirm":
            return self._confirm(key, character)
        if key == "escape":
            return "cancel"
        if key == "enter":
            self._review()
        elif key in ("tab", "down", "shift+tab", "up"):
            self._move(-1 if key in ("shift+tab", "up") else 1)
        else:
            self._edit(key, character)
        return ""

    def _confirm(self, key: str, character: str | None) -> str:
        if character == "y":
            return "send"
        self.step = "edit"
        return "" if key == "escape" else "cancel"

    def _move(self, by: int) -> None:
        self.at = (self.at + by) % len(self.fields)
        self.fresh = True

    def _review(self) -> None:
        try:
            self.change(0.0)
        except ValueError as error:
            self.error = str(error)
        else:
            self.step = "confirm"

    def _edit(self, key: str, character: str | None) -> None:
        name = self.field
        if key in ("left", "right") and name != "reason":
            self._turn(1 if key == "right" else -1)
        elif key == "backspace":
            self.values[name] = "" if self.fresh and name != "reason" else self.values[name][:-1]
            self.fresh = False
        elif character and character.isprintable():
            old = "" if self.fresh and name != "reason" else self.values[name]
            self.values[name] = (old + character)[:MAX_REASON]
            self.fresh = False

    def _turn(self, by: int) -> None:
        self.fresh = True
        if self.field == "for":
            self.choice = (self.choice + by) % len(DURATIONS)
            self.values["for"] = DURATIONS[self.choice]
            return
        try:
            value = float(self.values["max"])
        except ValueError:
            value = self.base or 1.0
        self.values["max"] = f"{min(max(value + by * STEP, 0.0), self.base or 1.0):.2f}"

    def paste(self, text: str) -> None:
        """A paste goes into the reason only; it never confirms."""
        if self.step == "edit" and self.field == "reason":
            self.values["reason"] = (self.values["reason"] + " ".join(text.split()))[:MAX_REASON]

    def change(self, now: float) -> Change:
        """What would be sent at ``now`` (epoch seconds). Raises ValueError that says what is wrong."""
        ceiling = self._ceiling() if self.verb == "C" else None
        seconds = None if self.verb == "E" else parse_duration(self.values["for"])
        expires = None if seconds is None else now + seconds
        reason = self.values["reason"].strip() or None
        return Change(self.row["rule_id"], VERBS[self.verb][1], ceiling, expires, reason)

    def _ceiling(self) -> float:
        try:
            value = float(self.values["max"])
        except ValueError:
            raise ValueError("max is a number from 0 to 1, such as 0.40") from None
        top = 1.0 if self.base is None else self.base
        if not 0.0 <= value <= top:
            raise ValueError(f"max lies between 0 and this rule's own confidence {top:.2f}")
        return value

    def notice(self, row: RuleRow | None) -> None:
        """The store's row now: says so when somebody else changed it meanwhile."""
        if row is None:
            self.warning = "this rule is gone"
        elif any(row.get(k) != self.row.get(k) for k in ("state", "confidence_max", "expires_at")):
            who: Any = row.get("set_by") or "somebody else"
            self.warning = f"changed meanwhile by {who}: now {row['state']}"
