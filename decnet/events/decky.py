"""Deckies: what they are, what is asked of them, what was done to them."""

from __future__ import annotations

from typing import ClassVar

from decnet.events.fields import Epoch
from decnet.events.record import Record


class State(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``decky.<name>.state``: what runs there since when."""

    ALWAYS: ClassVar = ("services",)

    decky: str
    services: list[str] = []
    status: str
    since: Epoch
    reason: str | None = None


class MutateRequest(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``decky.<name>.mutate_request``: an operator wants other services there."""

    request_id: str | None = None
    """The event's own id where it is missing."""
    requested_by: str = ""
    reason: str | None = None


class Mutation(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``decky.<name>.mutation``: services changed, or could not; ``outcome`` is applied or failed."""

    ALWAYS: ClassVar = ("old_services", "new_services")

    decky: str
    old_services: list[str] = []
    new_services: list[str] = []
    trigger: str
    outcome: str
    mutation_id: str | None = None
    request_id: str | None = None
    actor: str | None = None
    reason: str | None = None
