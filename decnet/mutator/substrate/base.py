"""What a substrate is: something that makes a decky run services, says what runs, and takes it away.

Which services and when is left to the schedule; retrying over minutes is left to the service. A
substrate keeps no memory of its own that a restart could lose: ``observe`` looks at the world.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from decnet.errors import SubstrateError


@dataclass(frozen=True, slots=True)
class Target:
    """One decky as a substrate sees it."""

    name: str
    topology_id: str
    address: str
    pool: tuple[str, ...]
    ports: Mapping[str, int] = field(default_factory=dict)
    networks: tuple[str, ...] = ()

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Target:
        """The target of a ``decky`` row."""
        return cls(
            row["name"],
            row["topology_id"],
            row["address"],
            tuple(row["pool"] or ()),
            row["ports"] or {},
            tuple(row["networks"] or ()),
        )


class Substrate(ABC):
    """Runs deckies. All three calls may be repeated: the second time they change nothing."""

    host_bound = True
    """Whether a decky's processes belong to the host they were started on."""

    @abstractmethod
    async def apply(self, decky: Target, services: Sequence[str]) -> None:
        """Makes the decky run exactly ``services``; returns when they are up.

        Raises SubstrateError; then what ran before runs again where that is possible.
        """

    @abstractmethod
    async def observe(self, decky: Target) -> list[str]:
        """The services that really run, in the order of the pool. Raises SubstrateError when it cannot tell."""

    async def observe_many(self, deckies: Sequence[Target]) -> dict[str, list[str]]:
        """The same for many, by name; those that it cannot tell are left out. Raises SubstrateError for all of them."""
        found: dict[str, list[str]] = {}
        for decky in deckies:
            with suppress(SubstrateError):
                found[decky.name] = await self.observe(decky)
        return found

    @abstractmethod
    async def remove(self, decky: Target) -> None:
        """Ends everything of the decky; its logs stay. Raises SubstrateError."""
