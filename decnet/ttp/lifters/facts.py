"""Reading payloads of any origin: a fact that is absent or of the wrong type is simply not there. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from decnet.hostile import storable_text
from decnet.patterns import PatternError, compile_pattern
from decnet.ttp.lifter_registry import Finding

MAX_ITEMS = 1000
Payload = Mapping[str, Any]


def text(payload: Payload, name: str) -> str:
    """A text fact, valid UTF-8; empty when there is none."""
    value = payload.get(name)
    return storable_text(value) if isinstance(value, str) else ""


def texts(payload: Payload, name: str) -> list[str]:
    """The texts of a list, or one text alone; at most ``MAX_ITEMS``."""
    value = payload.get(name)
    if isinstance(value, str):
        return [storable_text(value)]
    if not isinstance(value, (list, tuple)):
        return []
    return [storable_text(item) for item in value[:MAX_ITEMS] if isinstance(item, str)]


def number(payload: Payload, name: str) -> float | int | None:
    """A finite number; booleans and digits in text are none."""
    value = payload.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if abs(value) < 1e300 else None


def flag(payload: Payload, name: str) -> bool | None:
    """True or false, None when it was not told."""
    value = payload.get(name)
    return value if isinstance(value, bool) else None


def domain(payload: Payload, name: str) -> str:
    """A domain in lower case without the root's dot; empty when there is none."""
    return text(payload, name).strip().rstrip(".").lower()


def sample(value: object, limit: int = 300) -> str:
    """A value as the short text of a finding."""
    return str(value)[:limit]


def at_least(payload: Payload, name: str, least: float) -> Finding | None:
    """Holds when a number has reached its threshold."""
    value = number(payload, name)
    if value is None or value < least:
        return None
    return Finding(name, sample(value), {"metric": name, "value": value, "threshold": least})


def listed(*items: str) -> Any:
    """The default of a list knob."""
    return Field(default_factory=lambda: list(items))


def _checked(pattern: str) -> str:
    try:
        compile_pattern(pattern)
    except PatternError as error:
        raise ValueError(str(error)) from error
    return pattern


Patterns = list[Annotated[str, AfterValidator(_checked)]]
"""RE2 patterns, of which one must be found anywhere in the text."""


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> Any:
    """The compiled form of a checked pattern."""
    return compile_pattern(pattern)


def search(patterns: Sequence[str], payload: Payload, names: Iterable[str]) -> Finding | None:
    """The first pattern found in the first of the named facts (texts or lists of them)."""
    for name in names:
        for value in texts(payload, name):
            for pattern in patterns:
                match = compiled(pattern).search(value)
                if match is not None:
                    start, end = match.span()
                    return Finding(name, value[start : min(end, start + 300)], {"span": [start, end]})
    return None


def link_local(value: str) -> bool:
    """Whether a text is an address in fe80::/10, with or without a zone."""
    try:
        address = ip_address(value.strip().strip("[]").partition("%")[0])
    except ValueError:
        return False
    return isinstance(address, IPv6Address) and address.is_link_local
