"""What all records have in common: how a payload is checked, what of it is set aside, how it is built.

A bad element of a list costs itself only: the rest is kept, and the fault names its JSON path and value. A
payload without its key fields is malformed as a whole. ``null`` says nothing, like a key that is not there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import count
from typing import Any, ClassVar, NamedTuple, Self

import msgspec

from decnet.errors import MalformedEvent
from decnet.events.fields import Epoch, attacker_of, epoch, text
from decnet.ids import attacker_id

_VALUE_CHARS = 200
_ONE_BY_ONE = 32
"""Bad elements of plain lists that are left out singly; then the whole list goes, so that time stays linear."""
_STEP = re.compile(r"\.?([^.\[]+)")
_ELEMENT = re.compile(r"((?:\.[A-Za-z_0-9]+)+)\[(\d+)\]")
"""An element of a list whose way there goes through objects only."""
_FIELD = re.compile(r"\.([A-Za-z_0-9]+)\.([A-Za-z_0-9]+)(?:[\[.].*)?")
"""A field of an object: the others say what they said."""
MAX_UNKNOWN = 1000
"""Names of unknown keys that are counted each by itself: a producer may send any number of them."""
_NAME_CHARS = 80
_PLACE = re.compile(r" - at `(?:key in )?`?\$?(?P<path>[^`]*)`")


class Fault(NamedTuple):
    """One element that was set aside: where it stood, what it was, what is wrong with it."""

    path: str
    value: str
    reason: str
    item: Any = None
    """All of the element that was set aside: what else it said is not lost with it."""

    def __str__(self) -> str:
        return f"{self.path}: {self.reason} (it is {self.value})"


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One kind of event; times are epoch seconds. Keys that a record does not know are left out and counted."""

    LISTS: ClassVar[Mapping[str, type[msgspec.Struct]]] = {}
    """Lists whose elements are judged one by one."""
    DECISIVE: ClassVar[frozenset[str]] = frozenset()
    """Fields that may be left out, but of which a bad value spoils the whole."""
    ALWAYS: ClassVar[tuple[str, ...]] = ()
    """Keys that are written even at their default."""
    NOT_ON_THE_WIRE: ClassVar[frozenset[str]] = frozenset()
    """Fields that are no keys of the payload."""
    TYPE_KEY: ClassVar[str] = ""
    """The field that the envelope's ``type`` stands for where a payload has none."""

    @classmethod
    def parse(
        cls, payload: Any, faults: list[Fault] | None = None, strange: Counter[tuple[str, str]] | None = None
    ) -> Self:
        """The record in a payload, or in any object that has one as ``.payload``.

        Bad elements of lists go to ``faults``, keys that the record does not know are counted in ``strange``
        (or in ``unknown``). Raises MalformedEvent, with the JSON path, for a payload that is none.
        """
        raw = _mapping(payload)
        _count_unknown(cls, raw, unknown if strange is None else strange)
        try:
            settled = {
                name: value
                for name, value in cls.settled(raw).items()
                if value is not None or name in _required(cls)
            }
            try:
                return msgspec.convert(settled, cls, dec_hook=_decoded)
            except msgspec.ValidationError:
                return cls._element_by_element(settled, faults if faults is not None else [])
        except RecursionError as error:
            raise MalformedEvent("payload: nested too deeply") from error

    @classmethod
    def settled(cls, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """The payload with what producers name or write differently put straight; not changed in place."""
        return raw

    @classmethod
    def unknown_keys(cls, raw: Mapping[str, Any]) -> Iterable[str]:
        """Keys of a payload that say nothing to this record."""
        return raw.keys() - _known(cls)

    @classmethod
    def _element_by_element(cls, settled: Mapping[str, Any], faults: list[Fault]) -> Self:
        kept = dict(settled)
        for name, kind in cls.LISTS.items():
            items = kept.get(name)
            if isinstance(items, (list, tuple)):
                kept[name] = [
                    cls.placed(found, name, i, settled)
                    for i, item in enumerate(items)
                    if (found := _one(kind, f"{name}[{i}]", item, faults))
                ]
        return cls._field_by_field(kept, faults)

    @classmethod
    def placed(cls, item: Any, name: str, place: int, settled: Mapping[str, Any]) -> Any:
        """An element that stood at ``place`` of a list, of which others may be missing now."""
        return item

    @classmethod
    def _field_by_field(cls, kept: dict[str, Any], faults: list[Fault]) -> Self:
        """Sets aside one bad value after the other, until the rest is a record or a key field is bad."""
        gone: dict[str, list[int]] = {}
        for turn in count():
            try:
                return msgspec.convert(kept, cls, dec_hook=_decoded)
            except msgspec.ValidationError as error:
                path, reason = _split(error)
                name = _STEP.match(path)
                if name is None or name[1] in _required(cls) | cls.DECISIVE:
                    raise MalformedEvent(_said(error)) from error
                shown, element = _shown(_at(kept, path)), _ELEMENT.fullmatch(path)
                if element is not None and turn < _ONE_BY_ONE:
                    bad = _left_out(kept, element[1], int(element[2]))
                    path = f"{element[1]}[{_original(gone.setdefault(element[1], []), int(element[2]))}]"
                elif (field := _FIELD.fullmatch(path)) is not None and turn < _ONE_BY_ONE:
                    kept[field[1]] = dict(kept[field[1]])
                    bad = kept[field[1]].pop(field[2])
                else:
                    bad = kept.pop(name[1])
                faults.append(Fault(path.lstrip("."), shown, reason, bad))
        raise AssertionError("unreachable")

    def build(self) -> dict[str, Any]:
        """The payload, plain JSON; what is at its default is left out, but for the keys in ``ALWAYS``."""
        return self._with_defaults(self.ALWAYS)

    def said(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """What the payload ``raw`` of this record said: its known keys, defaults too, with checked values."""
        return self._with_defaults(raw.keys() & _known(type(self)))

    def plain(self) -> dict[str, Any]:
        """The fields that are not at their default, as plain JSON."""
        built: dict[str, Any] = msgspec.to_builtins(self, enc_hook=float)
        return built

    def _with_defaults(self, names: Iterable[str]) -> dict[str, Any]:
        built = self.plain()
        for name in names:
            if name not in built:
                built[name] = _default(type(self), name)
        return built


class FromAttacker(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A record about one attacker, named by its id, by its address, or both."""

    attacker_uuid: str | None = None
    """Derived from the address where a producer leaves it out."""
    attacker_ip: str | None = None
    identity_uuid: str | None = None
    source_id: str | None = None
    """What tags of this event stand on, where its producer wants something else than what is derived."""

    ANCHORED_BY_IDENTITY: ClassVar[bool] = False
    """Whether an identity is enough; then the id is not derived from the address beside one."""

    @classmethod
    def settled(cls, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """With the attacker's id, and the address in its canonical form."""
        uuid, ip = attacker_of(raw)
        if cls.ANCHORED_BY_IDENTITY and raw.get("identity_uuid"):
            uuid = text(raw.get("attacker_uuid"))
        return {**raw, "attacker_uuid": uuid, "attacker_ip": ip}

    @property
    def attacker(self) -> str | None:
        """The attacker's id, derived from the address also where an identity is named; None without both."""
        return self.attacker_uuid or (attacker_id(self.attacker_ip) if self.attacker_ip else None)

    def __post_init__(self) -> None:
        if not self.attacker_uuid and not (self.ANCHORED_BY_IDENTITY and self.identity_uuid):
            raise ValueError("neither attacker_uuid nor attacker_ip")


unknown: Counter[tuple[str, str]] = Counter()
"""(record, key) → how often a key was seen that the record does not know, where nobody else counts."""
OTHERS = "(others)"


def _count_unknown(cls: type[Record], raw: Mapping[str, Any], strange: Counter[tuple[str, str]]) -> None:
    """Keys of the payload, and of the elements of its lists (``commands[].colour``)."""
    found = [*cls.unknown_keys(raw)]
    for name, kind in cls.LISTS.items():
        items = raw.get(name)
        known = _known_of_element(kind)
        for item in items if isinstance(items, (list, tuple)) else ():
            if isinstance(item, dict) and not item.keys() <= known:
                found += [f"{name}[].{key}" for key in item.keys() - known]
    for key in found:
        place = (cls.__name__, str(key)[:_NAME_CHARS])
        room = place in strange or len(strange) < MAX_UNKNOWN
        strange[place if room else (cls.__name__, OTHERS)] += 1


@cache
def _known_of_element(kind: type[msgspec.Struct]) -> frozenset[str]:
    also: Iterable[str] = getattr(kind, "OTHER_NAMES", ())
    return frozenset(field.encode_name for field in msgspec.structs.fields(kind)).union(also)


@cache
def _default_makers(cls: type[Record]) -> Mapping[str, Any]:
    """Field → (its default,) or what makes it."""
    return {
        field.encode_name: field.default_factory
        if field.default_factory is not msgspec.NODEFAULT
        else (field.default,)
        for field in msgspec.structs.fields(cls)
    }


def _default(cls: type[Record], name: str) -> Any:
    """A fresh default of a field; None for one that has none."""
    made = _default_makers(cls)[name]
    value = made[0] if isinstance(made, tuple) else made()
    return None if value is msgspec.NODEFAULT else value


@cache
def _known(cls: type[Record]) -> frozenset[str]:
    return frozenset(field.encode_name for field in msgspec.structs.fields(cls)) - cls.NOT_ON_THE_WIRE


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
        faults.append(Fault(f"{path}{inner}", _shown(_at(item, inner)), reason, item))
        return None


def _at(item: Any, path: str) -> Any:
    """The value at a path like ``.auth.usernames[3]``, as far as it can be followed."""
    for key in re.findall(r"[^.\[\]]+", path):
        if isinstance(item, Mapping):
            item = item.get(key)
        elif isinstance(item, (list, tuple)) and key.isdigit() and int(key) < len(item):
            item = item[int(key)]
    return item


def _left_out(kept: dict[str, Any], path: str, index: int) -> Any:
    """Takes one element out of a list, in copies of what holds it; the element."""
    *way, last = path.lstrip(".").split(".")
    holder = kept
    for key in way:
        holder[key] = dict(holder[key])
        holder = holder[key]
    items = list(holder[last])
    bad = items.pop(index)
    holder[last] = items
    return bad


def _original(gone: list[int], index: int) -> int:
    """Where an element stood before others of its list went; notes that it goes as well."""
    for earlier in gone:
        index += earlier <= index
    gone.append(index)
    gone.sort()
    return index


@cache
def _required(cls: type[Record]) -> frozenset[str]:
    return frozenset(field.encode_name for field in msgspec.structs.fields(cls) if field.required)


def _shown(value: Any) -> str:
    try:
        said = repr(value)
    except (RecursionError, ValueError):  # too deep, or too many digits
        said = f"({type(value).__name__} that cannot be written out)"
    return said if len(said) <= _VALUE_CHARS else f"{said[:_VALUE_CHARS]}…"


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
