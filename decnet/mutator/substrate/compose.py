"""Decoys in containers: one Compose project for each fleet, rendered from the service catalogue.

The project file is also the memory: it holds every decky of the fleet, and a change rewrites only the
services of one. New containers come up before old ones go, but for those that want the same port; when
something fails, the file is what it was, what had come up goes, and the old ones run again. Containers
outlive the engine, as OpenCanary's processes do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from decnet.config import MutatorSettings
from decnet.errors import SubstrateError
from decnet.logs import get_logger
from decnet.mutator.substrate.base import Substrate, Target
from decnet.mutator.substrate.docker import DockerCompose
from decnet.mutator.substrate.files import write_whole
from decnet.services import Catalogue

log = get_logger(__name__)
_HEAD = "# Made by decnet-tui from the fleet in its database. Changes here are lost.\n"
_PIDS = 256
_MEMORY = "512m"
_SEPARATOR = "--"
"""Between decky and service in a container's name: the last one counts, since no service's name holds any."""

Project = dict[str, Any]


def container(decky: str, service: str) -> str:
    """The name of a decky's service within the project."""
    return f"{decky}{_SEPARATOR}{service}"


def _owner(name: str) -> str:
    """The decky of a container; its own name may hold the separator, so a prefix says nothing."""
    return name.rpartition(_SEPARATOR)[0]


def render_services(
    decky: Target, services: Sequence[str], catalogue: Catalogue, logs: Callable[[str], Path]
) -> Project:
    """The services of one decky as the project file has them; ``logs`` gives the host's directory for one."""
    return {container(decky.name, name): _service(decky, name, catalogue, logs) for name in services}


def _service(decky: Target, name: str, catalogue: Catalogue, logs: Callable[[str], Path]) -> dict[str, Any]:
    image = catalogue.services[name].image if name in catalogue.services else None
    if image is None:
        raise SubstrateError(f"no image for '{name}' in the catalogue")
    transport, port = catalogue.socket_of(name, decky.ports)
    address = f"[{decky.address}]" if ":" in decky.address else decky.address
    found: dict[str, Any] = {
        "image": image.name,
        "hostname": decky.name,
        "restart": "unless-stopped",
        "ports": [f"{address}:{port}:{image.port}/{transport}"],
        "labels": {"decnet.decky": decky.name, "decnet.service": name},
        "pids_limit": _PIDS,
        "mem_limit": _MEMORY,
        "read_only": image.read_only,
    }
    if image.environment:
        found["environment"] = dict(image.environment)
    if image.command:
        found["command"] = list(image.command)
    if image.tmpfs:
        found["tmpfs"] = [f"{path}:uid=2000,gid=2000" for path in image.tmpfs]
    if image.logs:
        found["volumes"] = [f"{logs(name)}:{image.logs}"]
    if decky.networks:
        found["networks"] = list(decky.networks)
    return found


def changed(project: Project, decky: str, fresh: Project) -> Project:
    """The project with one decky's services replaced; networks are those that services name."""
    kept = {name: body for name, body in (project.get("services") or {}).items() if _owner(name) != decky}
    services = dict(sorted({**kept, **fresh}.items()))
    networks = sorted({network for body in services.values() for network in body.get("networks", ())})
    return {"services": services, **({"networks": {name: {} for name in networks}} if networks else {})}


def as_text(project: Project) -> str:
    """The project file."""
    return _HEAD + yaml.safe_dump(project, sort_keys=False, default_flow_style=False)


class ComposeSubstrate(Substrate):
    """Containers on this host's Docker engine."""

    def __init__(self, settings: MutatorSettings, data_dir: Path, catalogue: Catalogue) -> None:
        self._settings = settings
        self._base = data_dir.absolute() / "fleet" / "compose"
        self._catalogue = catalogue
        self._locks: dict[str, asyncio.Lock] = {}

    def _file(self, decky: Target) -> Path:
        return self._base / decky.topology_id / "compose.yaml"

    def _docker(self, decky: Target) -> DockerCompose:
        return DockerCompose(self._settings, f"decnet-{decky.topology_id}", self._file(decky))

    def _lock(self, decky: Target) -> asyncio.Lock:
        """The project file of a fleet has one writer at a time."""
        return self._locks.setdefault(decky.topology_id, asyncio.Lock())

    async def apply(self, decky: Target, services: Sequence[str]) -> None:
        """Changes the project file and the containers of this decky. Raises SubstrateError."""
        async with self._lock(decky):
            old = await asyncio.to_thread(self._read, decky)
            fresh = render_services(decky, services, self._catalogue, lambda name: self._logs(decky, name))
            await self._change(decky, old, changed(old, decky.name, fresh))

    async def remove(self, decky: Target) -> None:
        """Takes the decky's containers away. Raises SubstrateError."""
        async with self._lock(decky):
            old = await asyncio.to_thread(self._read, decky)
            gone = sorted(_mine(old, decky.name))
            if gone:
                await self._docker(decky).down(gone)
                await asyncio.to_thread(self._write, decky, changed(old, decky.name, {}))

    async def observe(self, decky: Target) -> list[str]:
        """Services whose container runs. Raises SubstrateError."""
        if not self._file(decky).exists():
            return []
        running = await self._docker(decky).running()
        return [name for name in decky.pool if container(decky.name, name) in running]

    async def observe_many(self, deckies: Sequence[Target]) -> dict[str, list[str]]:
        """One look for each fleet. Raises SubstrateError."""
        found: dict[str, list[str]] = {}
        for topology_id in sorted({decky.topology_id for decky in deckies}):
            mine = [decky for decky in deckies if decky.topology_id == topology_id]
            known = self._file(mine[0]).exists()
            running = await self._docker(mine[0]).running() if known else set()
            for decky in mine:
                found[decky.name] = [name for name in decky.pool if container(decky.name, name) in running]
        return found

    async def _change(self, decky: Target, old: Project, new: Project) -> None:
        before, after = _mine(old, decky.name), _mine(new, decky.name)
        docker = self._docker(decky)
        taken = {at for name in after for at in after[name]["ports"]}
        in_the_way = sorted(n for n in before if n not in after and taken & set(before[n]["ports"]))
        later = sorted(n for n in before if n not in after and n not in in_the_way)
        coming = sorted(n for n in after if n not in before)
        running = await docker.running() if before else set()
        stale = sorted(n for n in after if before.get(n) != after[n] or n not in running)
        await asyncio.to_thread(self._make_logs, after)
        try:
            await docker.down(in_the_way)
            await asyncio.to_thread(self._write, decky, new)
            if stale:
                await docker.up(stale)
        except SubstrateError:
            await self._back(decky, old, coming, sorted(before))
            raise
        if later:
            await self._take_away(decky, old, new, later)

    async def _take_away(self, decky: Target, old: Project, new: Project, names: list[str]) -> None:
        """Ends containers that the new file does not know any more."""
        both = {
            "services": {**old["services"], **new["services"]},
            **{k: v for k, v in old.items() if k != "services"},
        }
        await asyncio.to_thread(self._write, decky, both)
        try:
            await self._docker(decky).down(names)
        finally:
            await asyncio.to_thread(self._write, decky, new)

    async def _back(self, decky: Target, old: Project, coming: list[str], before: list[str]) -> None:
        """As it was, as far as that goes; the first error is the one that is told."""
        docker = self._docker(decky)
        with suppress(SubstrateError):
            await docker.down(coming)
        with suppress(SubstrateError):
            await asyncio.to_thread(self._write, decky, old)
            if before:
                await docker.up(before)
        log.warning("containers taken back to what they were", decky=decky.name, services=before)

    def _read(self, decky: Target) -> Project:
        try:
            found = yaml.safe_load(self._file(decky).read_text("utf-8"))
        except FileNotFoundError:
            return {"services": {}}
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise SubstrateError(f"{self._file(decky)}: cannot be read: {error}") from error
        if not isinstance(found, dict) or not isinstance(found.get("services"), dict):
            raise SubstrateError(f"{self._file(decky)}: no project file; move it away to have it made anew")
        return found

    def _write(self, decky: Target, project: Project) -> None:
        write_whole(self._file(decky), as_text(project).encode())

    def _logs(self, decky: Target, service: str) -> Path:
        return self._base / decky.topology_id / "logs" / decky.name / service

    @staticmethod
    def _make_logs(services: Mapping[str, Mapping[str, Any]]) -> None:
        """Directories that the images' own users can write to; who may come so far is up to the data directory."""
        for body in services.values():
            for volume in body.get("volumes", ()):
                path = Path(volume.partition(":")[0])
                try:
                    path.mkdir(parents=True, exist_ok=True)
                    path.chmod(0o777)
                except OSError as error:
                    raise SubstrateError(f"{path}: {error.strerror or error}") from error


def _mine(project: Project, decky: str) -> dict[str, dict[str, Any]]:
    return {name: body for name, body in project["services"].items() if _owner(name) == decky}
