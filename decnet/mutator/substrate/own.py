"""Services of a decky that our own decoys play: mail, canary tokens over HTTP and DNS.

They run in the worker ``decoys`` of the same engine. What a decky should have is a row for each; the worker opens and
closes ports by these rows and says in them what became of it. Other than OpenCanary's processes they end with the
engine, and are opened again with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from decnet.config import Settings
from decnet.db.rows.fleet import OwnDecoyRow
from decnet.errors import SubstrateError
from decnet.mutator.substrate import process
from decnet.mutator.substrate.base import Substrate, Target
from decnet.runtime.leases import site_of
from decnet.services import Catalogue

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository

_LOOK_S: Final = 0.05


class OwnDecoys(Substrate):
    """The services of a decky that are ours, and nothing else of it."""

    def __init__(self, settings: Settings, catalogue: Catalogue, repo: BaseRepository) -> None:
        self._timeout_s = settings.mutator.start_timeout_s
        self._site = site_of(settings.data_dir)
        self._catalogue = catalogue
        self._repo = repo

    def _rows(self, decky: Target, services: Sequence[str]) -> list[OwnDecoyRow]:
        rows: list[OwnDecoyRow] = []
        for name in services:
            plays = self._catalogue.own_of(name)
            if plays is None:
                raise SubstrateError(f"no decoy of ours plays '{name}'")
            transport, port = self._catalogue.socket_of(name, decky.ports)
            rows.append({
                "decky": decky.name, "service": name, "plays": plays, "transport": transport, "address": decky.address,
                "port": port, "site": self._site, "opened": False, "trouble": "",
            })  # fmt: skip
        return rows

    async def apply(self, decky: Target, services: Sequence[str]) -> None:
        """Asks for these services and waits until their ports are open.

        Raises SubstrateError; they stay asked for then, until the caller asks for what ran before.
        """
        wanted = self._rows(decky, services)
        if not wanted and not await self._repo.own_decoys(decky=decky.name):
            return
        await self._repo.own_decoys_want(decky.name, wanted)
        if why := await self._awaited(decky):
            raise SubstrateError(why)

    async def _awaited(self, decky: Target) -> str:
        """Why the services of a decky are not as they are asked for; empty once they are."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout_s
        while True:
            rows = await self._repo.own_decoys(decky=decky.name)
            troubles = [f"{row['service']}: {row['trouble']}" for row in rows if row["trouble"]]
            if troubles:
                return "; ".join(troubles)
            waiting = [row["service"] for row in rows if not row["opened"]]
            if not waiting:
                return ""
            if loop.time() > deadline:
                names = ", ".join(waiting)
                return f"{names} not open after {self._timeout_s:.0f} s: does the worker `decoys` run here?"
            await asyncio.sleep(_LOOK_S)

    async def observe(self, decky: Target) -> list[str]:
        """The services whose ports the worker says it opened, and which are open on this host."""
        rows = await self._repo.own_decoys(decky=decky.name)
        open_now = await asyncio.to_thread(process.open_here)
        running = {
            row["service"]
            for row in rows
            if row["opened"] and (row["transport"], row["address"], row["port"]) in open_now
        }
        return [name for name in decky.pool if name in running]

    async def remove(self, decky: Target) -> None:
        """Asks for nothing any more."""
        await self._repo.own_decoys_want(decky.name, [])


class WithOwnDecoys(Substrate):
    """A substrate, and our own decoys for what it cannot play."""

    def __init__(self, others: Substrate, own: OwnDecoys, catalogue: Catalogue) -> None:
        self._others, self._own, self._catalogue = others, own, catalogue
        self.host_bound = others.host_bound

    def _is_own(self, name: str) -> bool:
        return self._catalogue.own_of(name) is not None

    def _theirs(self, decky: Target) -> Target:
        return replace(decky, pool=tuple(name for name in decky.pool if not self._is_own(name)))

    async def apply(self, decky: Target, services: Sequence[str]) -> None:
        """Both parts. What of ours is not wanted closes first, since the others may want its port.

        Raises SubstrateError; then what ran before runs again where that is possible.
        """
        own = [name for name in services if self._is_own(name)]
        rest = [name for name in services if not self._is_own(name)]
        old_own, old_rest = await self._own.observe(decky), await self._others.observe(self._theirs(decky))
        await self._own.apply(decky, [name for name in old_own if name in own])
        try:
            await self._apply_others(decky, rest)
            await self._own.apply(decky, own)
        except SubstrateError:
            await self._back(decky, old_own, old_rest)
            raise

    async def _apply_others(self, decky: Target, services: Sequence[str]) -> None:
        theirs = self._theirs(decky)
        await (self._others.apply(theirs, services) if services else self._others.remove(theirs))

    async def _back(self, decky: Target, own: Sequence[str], rest: Sequence[str]) -> None:
        """What ran before, as far as that goes; its own failure is told of when it is looked for."""
        for part in (self._apply_others(decky, rest), self._own.apply(decky, own)):
            try:
                await part
            except SubstrateError:
                continue

    async def observe(self, decky: Target) -> list[str]:
        """What runs of both, in the order of the pool. Raises SubstrateError when it cannot be told."""
        running = {*await self._others.observe(self._theirs(decky)), *await self._own.observe(decky)}
        return [name for name in decky.pool if name in running]

    async def remove(self, decky: Target) -> None:
        """Ends both. Raises SubstrateError."""
        await self._own.remove(decky)
        await self._others.remove(self._theirs(decky))
