"""What all services have in common: what may be asked about, what is sent, what an answer is; pure.

Answers are read strictly. One wrong type, one number out of its range, one character that a terminal would obey, and
nothing of an answer is believed: it comes from outside, and parts of it were written by whoever it is about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from decnet.addresses import fold
from decnet.hostile import visible

Kind = Literal["address", "sha256", "url", "host", "list"]
REASONS: Final = (
    "unreachable",
    "timeout",
    "redirect",
    "too_large",
    "encoded",
    "rate_limited",
    "refused",
    "server_error",
    "status",
    "no_json",
    "wrong_shape",
    "hostile_text",
    "about_another",
)
"""Why there is no answer, all there are: the names of counters.

``refused`` is the key that is not taken, ``encoded`` a body that is packed although that was not asked for.
"""
OF_THE_VALUE: Final = frozenset({"too_large", "no_json", "wrong_shape", "hostile_text", "about_another"})
"""Faults of one answer that are likely to come again when the same is asked again."""
MAX_WORD = 128
"""Characters of one name in an answer."""
MAX_WORDS = 100
"""Different names of one kind in an answer."""


class AnswerFault(Exception):
    """There is no answer that could be believed; ``reason`` is one of :data:`REASONS` and holds nothing of it."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after
        """Seconds that the service asked to be left alone; None when it named none."""


class Value(NamedTuple):
    """What is asked about, in its one spelling."""

    kind: Kind
    text: str


class Answer(NamedTuple):
    """What a service said; not known is an answer too.

    Of an address ``said`` is the payload of ``attacker.intel.enriched``, without whom it is about.
    """

    known: bool
    said: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent, without the key: that is put in by the client, right before it goes out."""

    method: Literal["GET", "POST"]
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] | None = None
    json: Mapping[str, Any] | None = None


def _itself(value: Value) -> Value:
    return value


def _whole(answer: Answer, value: Value) -> Answer:
    return answer


@dataclass(frozen=True, slots=True)
class Service:
    """One service: what it can be asked about, what is sent there, what comes back.

    ``request`` and ``read`` are given what ``asks`` makes of the value in question, ``pick`` finds what an answer
    says of that value: they differ where a list is fetched as a whole. ``read`` gets the value, the status and the
    JSON of a body and raises AnswerFault; it sees no other status than those of ``statuses``.
    """

    name: str
    kinds: frozenset[Kind]
    key_header: str
    request: Callable[[Value], Request]
    read: Callable[[Value, int, Any], Answer]
    statuses: frozenset[int] = frozenset({200})
    asks: Callable[[Value], Value] = _itself
    pick: Callable[[Answer, Value], Answer] = _whole


def about_address(provider: str, known: bool, verdict: str, **fields: Any) -> Answer:
    """An answer about an address; fields that are None say nothing and are left out."""
    said = {name: value for name, value in fields.items() if value is not None}
    return Answer(known, {"providers": [provider], "aggregate_verdict": verdict, **said})


def mapping(value: Any) -> Mapping[str, Any]:
    """A JSON object. Raises AnswerFault."""
    if not isinstance(value, dict):
        raise AnswerFault("wrong_shape")
    return value


def items(value: Any) -> Sequence[Any]:
    """A JSON array. Raises AnswerFault."""
    if not isinstance(value, list):
        raise AnswerFault("wrong_shape")
    return value


def flag(value: Any) -> bool:
    """True or false, and nothing that looks like it. Raises AnswerFault."""
    if not isinstance(value, bool):
        raise AnswerFault("wrong_shape")
    return value


def whole(value: Any, least: int, most: int) -> int:
    """A whole number in a range. Raises AnswerFault."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise AnswerFault("wrong_shape")
    return value


def text(value: Any, limit: int) -> str:
    """Text of bounded length that a terminal shows as it is. Raises AnswerFault."""
    if not isinstance(value, str):
        raise AnswerFault("wrong_shape")
    if len(value) > limit or visible(value) != value:
        raise AnswerFault("hostile_text")
    return value


def word(value: Any) -> str:
    """A name that is one. Raises AnswerFault."""
    found = text(value, MAX_WORD).strip()
    if not found:
        raise AnswerFault("wrong_shape")
    return found


def optional_word(value: Any) -> str | None:
    """A name, or None where there is none (null, empty). Raises AnswerFault."""
    return None if value is None or value == "" else word(value)


def distinct(values: Iterable[str | None]) -> list[str]:
    """The names among some, each once, in order. Raises AnswerFault for more than anybody could have."""
    found = sorted({value for value in values if value is not None})
    if len(found) > MAX_WORDS:
        raise AnswerFault("wrong_shape")
    return found


def same_address(value: Value, said: Any) -> None:
    """An answer has to be about the address that was asked. Raises AnswerFault."""
    if fold(text(said, MAX_WORD)) != value.text:
        raise AnswerFault("about_another")
