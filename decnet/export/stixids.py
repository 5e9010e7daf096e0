"""Ids of STIX objects: derived from what they stand for, so that the same rows give the same bundle."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import NAMESPACE_URL, uuid5

_NAMESPACE = uuid5(NAMESPACE_URL, "decnet:stix:v1")
EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
"""Creation time of objects that stand for something timeless: techniques, countries and ourselves."""


def object_id(kind: str, key: str) -> str:
    """The id of an object of a kind that stands for a key."""
    return f"{kind}--{uuid5(_NAMESPACE, f'{kind}|{key}')}"
