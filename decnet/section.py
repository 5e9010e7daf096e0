"""One section of settings: frozen, unknown keys and numbers without end refused."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict


class Section(BaseModel):
    """What the sections of :mod:`decnet.config` have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def is_section(kind: Any) -> bool:
    """Whether the type of a setting is a section of them."""
    return isinstance(kind, type) and issubclass(kind, Section)


def _are_networks(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        try:
            ip_network(text, strict=False)
        except ValueError:
            raise ValueError(f"{text!r} is no address and no network") from None
    return texts


Networks = Annotated[tuple[str, ...], AfterValidator(_are_networks)]
"""Addresses and networks of a setting."""
