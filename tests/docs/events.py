"""The reference of the events, from the records that read and build them."""

from __future__ import annotations

import json
from typing import Any

from decnet.events.schema import file_name, schema_of
from decnet.events.topics import RECORDS
from tests.docs.tables import anchor, table

_HEAD = """# Events

Every event that goes over the bus, made from the records in `decnet/events` that check and build it. The JSON Schema of each
ships with the package (`decnet/_data/schemas`), and `decnet-tui schema TOPIC` prints it. To put events of your own on the bus:
an envelope `{"id": …, "type": …, "ts": …, "v": 1, "payload": {…}}` under the topic; `decnet-tui replay FILE` takes JSON lines of
such envelopes with their `topic`. Keys that a record does not know are counted and left out; a bad element of a list costs itself
only; a body without its required keys becomes a dead letter that names the fault. Times are epoch seconds or ISO 8601.

"""


def page() -> str:
    """All topics: a list, then each with its keys and an example."""
    listed = table(("topic", "what"), ((f"[`{p}`](#{anchor(p)})", _first(RECORDS[p])) for p in RECORDS))
    return _HEAD + listed + "".join(map(_topic, RECORDS))


def _first(record: type[Any]) -> str:
    told = (record.__doc__ or "").partition(":")[2].strip().split("\n\n")[0]
    return (told or (record.__doc__ or "").split("\n\n")[0]).replace("``", "`")


def _topic(pattern: str) -> str:
    schema = schema_of(pattern)
    required = set(schema.get("required", ()))
    rows = (
        (f"`{name}`", _type(kind), "yes" if name in required else "")
        for name, kind in schema["properties"].items()
    )
    parts = "".join(_part(name, part) for name, part in sorted(schema["$defs"].items()))
    example = json.dumps(schema["examples"][0], indent=1)
    return (
        f"## {pattern}\n\n{_first(RECORDS[pattern])}\n\n"
        f"Schema: `{file_name(pattern)}`.\n\n"
        f"{table(('key', 'type', 'required'), rows)}{parts}```json\n{example}\n```\n\n"
    )


def _part(name: str, part: dict[str, Any]) -> str:
    if "properties" not in part:
        return ""
    required = set(part.get("required", ()))
    rows = (
        (f"`{key}`", _type(kind), "yes" if key in required else "")
        for key, kind in part["properties"].items()
    )
    return f"An element of type {name}:\n\n{table(('key', 'type', 'required'), rows)}"


def _type(kind: dict[str, Any]) -> str:
    """A type in words."""
    if "anyOf" in kind:
        return " or ".join(dict.fromkeys(_type(one) for one in kind["anyOf"] if one != {"type": "null"}))
    if "$ref" in kind:
        return str(kind["$ref"]).rpartition("/")[2]
    if "enum" in kind:
        return "one of " + ", ".join(map(str, kind["enum"]))
    if kind.get("type") == "array":
        return f"list of {_type(kind.get('items') or {}) or 'anything'}"
    words = kind.get("type", "anything")
    return " or ".join(words) if isinstance(words, list) else str(words)
