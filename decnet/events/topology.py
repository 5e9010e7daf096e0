"""Topologies: operations on the fleet's wiring, and its status."""

from __future__ import annotations

from typing import Any, ClassVar

from decnet.events.record import Record


class Mutation(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``topology.<id>.mutation.<state>``; ``payload`` is the operation's own."""

    ALWAYS: ClassVar = ("payload",)

    mutation_id: str
    op: str
    payload: dict[str, Any] = {}
    reason: str | None = None


class Status(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``topology.<id>.status``: how a topology is doing, and why."""

    ALWAYS: ClassVar = ("reason",)

    state: str
    reason: str = ""
