"""One section of settings: frozen, unknown keys and numbers without end refused."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """What the sections of :mod:`decnet.config` have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
