"""The dry run: records what it would do, in the database's stead in one file for each decky.

The file is what "really runs" here, so that a restart finds it again. Of no use against attackers.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

from decnet.errors import SubstrateError
from decnet.mutator.substrate.base import Substrate, Target
from decnet.mutator.substrate.files import write_whole

KEPT = 50
"""Actions remembered of one decky."""


class DryRunSubstrate(Substrate):
    """``<directory>/<decky>.json`` holds what would run and the last actions."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def _path(self, decky: Target) -> Path:
        return self._directory / f"{decky.name}.json"

    def _read(self, decky: Target) -> dict[str, list[str]]:
        try:
            found = json.loads(self._path(decky).read_text("utf-8"))
            return {"services": list(found["services"]), "actions": list(found["actions"])}
        except FileNotFoundError:
            return {"services": [], "actions": []}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SubstrateError(f"{self._path(decky)}: cannot be read: {error}") from error

    def _write(self, decky: Target, services: list[str], action: str) -> None:
        state = self._read(decky)
        if state["services"] != services:
            state = {"services": services, "actions": [*state["actions"], action][-KEPT:]}
            write_whole(self._path(decky), json.dumps(state).encode(), sync=False)

    async def apply(self, decky: Target, services: Sequence[str]) -> None:
        """Records the services."""
        await asyncio.to_thread(self._write, decky, list(services), f"apply {' '.join(services)}")

    async def observe(self, decky: Target) -> list[str]:
        """What was recorded."""
        state = await asyncio.to_thread(self._read, decky)
        return [name for name in decky.pool if name in state["services"]]

    async def remove(self, decky: Target) -> None:
        """Records that nothing runs."""
        await asyncio.to_thread(self._write, decky, [], "remove")
