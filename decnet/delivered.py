"""Log-ins that devices are delivered with, told by their keyed hashes: nothing that was captured is compared in the clear."""

from __future__ import annotations

from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path

import yaml

from decnet.keyed import keyed_hash


@cache
def delivered_pairs() -> frozenset[tuple[str, str]]:
    """User and password of the shipped list."""
    path = Path(str(files("decnet"))) / "_data" / "default_credentials.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    return frozenset((str(user), str(secret)) for user, secrets in document.items() for secret in secrets)


@lru_cache(maxsize=4)
def keyed_pairs(key: bytes) -> frozenset[tuple[str, str]]:
    """User and hash of the password, under the key of a data directory."""
    return frozenset((user, keyed_hash(key, "password", secret)) for user, secret in delivered_pairs())
