"""JSON Schemas of all events, generated from the records; ``make schemas`` writes them, a test compares.

They say what a producer has to send so that it is understood. The engine checks with the records themselves.
"""

from __future__ import annotations

import json
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from decnet.events.examples import EXAMPLES
from decnet.events.fields import Epoch
from decnet.events.topics import RECORDS

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def schema_of(pattern: str) -> dict[str, Any]:
    """The schema of one topic (a pattern of ``RECORDS``). Raises KeyError for another one."""
    record = RECORDS[pattern]
    (schema,), parts = msgspec.json.schema_components([record], schema_hook=_own_type)
    body = parts.pop(record.__name__) if record.__name__ in parts else schema
    for name in record.NOT_ON_THE_WIRE:
        del body["properties"][name]
    return {
        "$schema": DRAFT,
        "title": pattern,
        **{key: value for key, value in body.items() if key != "title"},
        "examples": [EXAMPLES[pattern]],
        "$defs": parts,
    }


def _own_type(kind: type[Any]) -> dict[str, Any]:
    if kind is Epoch:
        return {
            "type": ["number", "string"],
            "description": "Epoch seconds, or ISO 8601 (UTC without a zone).",
        }
    raise TypeError(f"no schema for {kind.__name__}")


def file_name(pattern: str) -> str:
    """``canary.*.placed`` → ``canary.placed.schema.json``: the wildcards are the producer's own ids."""
    return ".".join(word for word in pattern.split(".") if word not in ("*", ">")) + ".schema.json"


def schema_files() -> dict[str, str]:
    """File name → text of each schema."""
    return {
        file_name(pattern): json.dumps(schema_of(pattern), indent=1, sort_keys=True) + "\n"
        for pattern in RECORDS
    }


def schemas_dir() -> Path:
    """Where the shipped schemas are."""
    return Path(str(files("decnet"))) / "_data" / "schemas"


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else schemas_dir()
    for name, text in schema_files().items():
        (target / name).write_text(text, "utf-8")
