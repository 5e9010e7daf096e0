"""What all records have in common: how a payload is checked, what of it is set aside, how it is built.

A bad element of a list costs itself only: the rest is kept, and the fault names its JSON path and value. A
payload without its key fields is malformed as a whole.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import count
from typing import Any, ClassVar, NamedTuple, Self

import msgspec

from decnet.errors import MalformedEvent
from decnet.events.fields import Epoch, attacker_of, epoch

_VALUE_CHARS = 200
_ONE_BY_ONE = 32
"""Bad elements of plain lists that are left out singly; then the whole list goes, so that time stays linear."""
_STEP = re.compile(r"\.?([^.\[]+)(?:\[(\d+)\]$)?")
_PLACE = re.compile(r" - at `(?:key in )?`?\$?(?P<path>[^`]*)`")


class Fault(NamedTuple):
    """One element that was set aside: where it stood, what it was, what is wrong with it."""

    path: str
    value: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason} (it is {self.value})"


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One kind of event; times are epoch seconds. Keys that a record does not know are left out and counted."""

    LISTS: ClassVar[Mapping[str, type[msgspec.Struct]]] = {}
    """Lists whose elements are judged one by one."""

    @classmethod
    def parse(cls, payload: Any, faults: list[Fault] | None = None) -> Self:
        """The record in a payload, or in any object that has one as ``.payload``.

        Bad elements of lists go to ``faults``. Raises MalformedEvent, with the JSON path, for a payload
        that is none.
        """
        raw = _mapping(payload)
        settled = cls.settled(raw)
        unknown.update((cls.__name__, key) for key in raw.keys() - _known(cls))
        try:
            return msgspec.convert(settled, cls, dec_hook=_decoded)
        except msgspec.ValidationError:
            return cls._element_by_element(settled, faults if faults is not None else [])

    @classmethod
    def settled(cls, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """The payload with what producers name or write differently put straight; not changed in place."""
        return raw

    @classmethod
    def _element_by_element(cls, settled: Mapping[str, Any], faults: list[Fault]) -> Self:
        kept = dict(settled)
        for name, kind in cls.LISTS.items():
            items = kept.get(name)
            if isinstance(items, (list, tuple)):
                kept[name] = [
                    found
                    for i, item in enumerate(items)
                    if (found := _one(kind, f"{name}[{i}]", item, faults))
                ]
        return cls._field_by_field(kept, faults)

    @classmethod
    def _field_by_field(cls, kept: dict[str, Any], faults: list[Fault]) -> Self:
        """Sets aside one bad value after the other, until the rest is a record or a key field is bad."""
        for turn in count():
            try:
                return msgspec.convert(kept, cls, dec_hook=_decoded)
            except msgspec.ValidationError as error:
                path, reason = _split(error)
                name = _STEP.match(path)
                if name is None or name[1] in _required(cls):
                    raise MalformedEvent(_said(error)) from error
                faults.append(Fault(path.lstrip("."), _shown(_at(kept, path)), reason))
                if turn >= _ONE_BY_ONE or not _left_out(kept, name[1], path):
                    del kept[name[1]]
        raise AssertionError("unreachable")

    def build(self) -> dict[str, Any]:
        """The payload, plain JSON; what is at its default is left out."""
        built: dict[str, Any] = msgspec.to_builtins(self, enc_hook=float)
        return built


class FromAttacker(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A record about one attacker, named by its id, by its address, or both."""

    attacker_uuid: str | None = None
    """Derived from the address where a producer leaves it out."""
    attacker_ip: str | None = None
    identity_uuid: str | None = None

    @classmethod
    def settled(cls, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """With the attacker's id, and the address in its canonical form."""
        uuid, ip = attacker_of(raw)
        if uuid is None and raw.get("identity_uuid") and cls.ANCHORED_BY_IDENTITY:
            return {**raw, "attacker_uuid": None, "attacker_ip": None}
        return {**raw, "attacker_uuid": uuid, "attacker_ip": ip}

    ANCHORED_BY_IDENTITY: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.attacker_uuid and not (self.ANCHORED_BY_IDENTITY and self.identity_uuid):
            raise ValueError("neither attacker_uuid nor attacker_ip")


unknown: Counter[tuple[str, str]] = Counter()
"""(record, key) → how often a key was seen that the record does not know."""


@cache
def _known(cls: type[Record]) -> frozenset[str]:
    return frozenset(field.encode_name for field in msgspec.structs.fields(cls))


def _mapping(payload: Any) -> Mapping[str, Any]:
    inner = payload if isinstance(payload, Mapping) else getattr(payload, "payload", None)
    if not isinstance(inner, Mapping):
        raise MalformedEvent("payload: expected an object")
    return inner


def _decoded(kind: type[Any], value: Any) -> Any:
    """Our own types; everything else msgspec knows."""
    if kind is Epoch:
        found = epoch(value)
        if found is None:
            raise ValueError("expected a number or ISO time")
        return Epoch(found)
    raise TypeError(f"no decoder for {kind.__name__}")


def _one(kind: type[msgspec.Struct], path: str, item: Any, faults: list[Fault]) -> Any:
    """One element, or None and a fault."""
    if isinstance(item, kind):
        return item
    try:
        settle = getattr(kind, "settled", None)
        return msgspec.convert(settle(item) if settle else item, kind, dec_hook=_decoded)
    except msgspec.ValidationError as error:
        inner, reason = _split(error)
        faults.append(Fault(f"{path}{inner}", _shown(_at(item, inner)), reason))
        return None


def _at(item: Any, path: str) -> Any:
    """The value at a path like ``.auth.usernames[3]``, as far as it can be followed."""
    for key in re.findall(r"[^.\[\]]+", path):
        if isinstance(item, Mapping):
            item = item.get(key)
        elif isinstance(item, (list, tuple)) and key.isdigit() and int(key) < len(item):
            item = item[int(key)]
    return item


def _left_out(kept: dict[str, Any], name: str, path: str) -> bool:
    """Takes one element out of a plain list; False when the path names none."""
    step = _STEP.fullmatch(path)
    if step is None or step[2] is None:
        return False
    items = list(kept[name])
    del items[int(step[2])]
    kept[name] = items
    return True


@cache
def _required(cls: type[Record]) -> frozenset[str]:
    return frozenset(field.encode_name for field in msgspec.structs.fields(cls) if field.required)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _VALUE_CHARS else f"{text[:_VALUE_CHARS]}…"


def _split(error: msgspec.ValidationError) -> tuple[str, str]:
    """(path below ``$``, reason) of msgspec's message."""
    said = str(error)
    place = _PLACE.search(said)
    path = place["path"] if place else ""
    reason = said[: place.start()] if place else said
    return path, reason[:1].lower() + reason[1:]


def _said(error: msgspec.ValidationError) -> str:
    path, reason = _split(error)
    return f"{path.lstrip('.') or 'payload'}: {reason}"


def settled_list(raw: Mapping[str, Any], name: str, settle: Any) -> Sequence[Any] | None:
    """The elements of a list put straight one by one; what is no list stays for the check."""
    items = raw.get(name)
    return [settle(item) for item in items] if isinstance(items, (list, tuple)) else items
