"""One section of settings: frozen, unknown keys and numbers without end refused."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """What the sections of :mod:`decnet.config` have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def is_section(kind: Any) -> bool:
    """Whether the type of a setting is a section of them."""
    return isinstance(kind, type) and issubclass(kind, Section)
