"""How the values of a primitive are to be compared, as the BEHAVE-SHELL registry says.

NUMERIC → numeric, HASH → hash, everything else, unknown primitives and a missing registry → categorical.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

CATEGORICAL, NUMERIC, HASH = "categorical", "numeric", "hash"
KINDS = (CATEGORICAL, NUMERIC, HASH)
SIMHASHES = frozenset(
    {"motor.digraph_simhash", "toolchain.payload.payload_simhash", "toolchain.tls.tls_cert_simhash"}
)
"""Hashes whose distance means something: compared by differing bits."""


@cache
def _registry() -> dict[str, Any]:
    """The registry's entries; none when the package is not there."""
    try:
        found: dict[str, Any] = import_module("behave_shell.spec").PRIMITIVE_REGISTRY
    except (ImportError, AttributeError):
        return {}
    return found


def value_kind(primitive: str) -> str:
    """``categorical``, ``numeric`` or ``hash``."""
    kind = getattr(getattr(_registry().get(primitive), "kind", None), "value", None)
    return kind if kind in (NUMERIC, HASH) else CATEGORICAL
