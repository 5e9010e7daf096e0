"""The keys that an event may have: the fields of its records and of what stands in them, and the envelope's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from functools import cache
from typing import Any

import msgspec

from decnet.events.topics import RECORDS

ENVELOPE = frozenset({"topic", "type", "id", "ts", "v", "payload"})
NEAR = 3
"""Keys that are named as near ones."""


@cache
def event_keys() -> frozenset[str]:
    """All keys; worked out when somebody first asks, since few filters name one."""
    found = set(ENVELOPE)
    seen: set[type[Any]] = set()
    for shape in msgspec.inspect.multi_type_info(list(RECORDS.values())):
        found.update(_keys(shape, seen))
    return frozenset(found)


def _keys(shape: msgspec.inspect.Type, seen: set[type[Any]]) -> Iterator[str]:
    """The keys of a type and of all that it is made of; each structure once."""
    if isinstance(shape, msgspec.inspect.StructType):
        if shape.cls in seen:
            return
        seen.add(shape.cls)
        for field in shape.fields:
            yield field.encode_name
            yield from _keys(field.type, seen)
        return
    for inner in _parts(shape):
        yield from _keys(inner, seen)


def _parts(shape: msgspec.inspect.Type) -> Iterator[msgspec.inspect.Type]:
    if isinstance(shape, msgspec.inspect.UnionType):
        yield from shape.types
    elif isinstance(shape, msgspec.inspect.DictType):
        yield shape.value_type
    elif isinstance(shape, msgspec.inspect.CollectionType):
        yield shape.item_type
    elif isinstance(shape, msgspec.inspect.TupleType):
        yield from shape.item_types


def near(key: str, known: Iterable[str]) -> list[str]:
    """Those of some keys that may have been meant."""
    return get_close_matches(key, sorted(known), NEAR)
