"""Honeypot services: the catalogue of what a decky can run, with ports, images and OpenCanary modules.

The catalogue is data (``_data/fleet/services.yaml``); a file of the same shape may be laid over it.
Choosing services is left to the mutator's schedule, running them to its substrates.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from decnet.documents import Document, Flaw
from decnet.errors import ConfigError, SourcePosition
from decnet.yaml_places import parse_strict

SERVICE_PORTS: dict[str, int] = {
    "ftp": 21, "ssh": 22, "telnet": 23, "smtp": 25, "http": 80, "smb": 445, "https": 443,
    "mysql": 3306, "rdp": 3389, "postgres": 5432, "vnc": 5900, "redis": 6379,
}  # fmt: skip
"""Service name to the port IANA lists for it."""

LOGIN_SERVICES = frozenset({"ssh", "telnet"})
"""Services whose sessions have a shell."""

MAX_FILE_BYTES = 1 << 20
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\Z")
"""What a decky, a fleet, a network or a service may be called: one token of a topic."""
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,254}\Z")
_SERVICE_KEYS = {"port", "transport", "opencanary", "image", "own"}
OWN_DECOYS = ("mail", "canary_http", "canary_dns")
"""What our own decoys play, by the names of their settings."""
_IMAGE_KEYS = {"name", "port", "logs", "tmpfs", "environment", "command", "read_only"}


@dataclass(frozen=True, slots=True)
class Image:
    """A container that plays a service; ``port`` is the one inside it, ``logs`` a directory inside it."""

    name: str
    port: int
    logs: str = ""
    tmpfs: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    read_only: bool = True


@dataclass(frozen=True, slots=True)
class Service:
    """One service; ``module`` and ``options`` are OpenCanary's, None where it cannot play it.

    ``own`` is the decoy of ours that plays it beside OpenCanary; None for none.
    """

    name: str
    port: int
    transport: str = "tcp"
    module: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    image: Image | None = None
    own: str | None = None


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All services by name, and the pools of the archetypes."""

    services: Mapping[str, Service]
    archetypes: Mapping[str, tuple[str, ...]]

    def playable(self, names: Iterable[str], substrate: str) -> list[str]:
        """Those of ``names`` that a substrate can run, in their order; ``dry_run`` can run everything."""
        return [name for name in names if name in self.services and self._plays(name, substrate)]

    def _plays(self, name: str, substrate: str) -> bool:
        service = self.services[name]
        wanted: dict[str, object] = {"opencanary": service.module or service.own, "compose": service.image}
        return substrate not in wanted or wanted[substrate] is not None

    def own_of(self, name: str) -> str | None:
        """The decoy of ours that plays a service on OpenCanary's substrate; None where OpenCanary does, or nobody."""
        service = self.services.get(name)
        return service.own if service is not None and service.module is None else None

    def socket_of(self, name: str, ports: Mapping[str, int]) -> tuple[str, int]:
        """Transport and port of a service on a decky with its own port table."""
        service = self.services[name]
        return service.transport, ports.get(name, service.port)

    def conflicts(self, names: Iterable[str], ports: Mapping[str, int]) -> dict[str, frozenset[str]]:
        """The port-conflict graph: for each known name the others that would want its port."""
        sockets = {name: self.socket_of(name, ports) for name in names if name in self.services}
        return {
            name: frozenset(other for other, at in sockets.items() if at == mine and other != name)
            for name, mine in sockets.items()
        }


@lru_cache(maxsize=8)
def load_catalogue(extra: Path | None = None) -> Catalogue:
    """The packaged catalogue, with the services and archetypes of ``extra`` laid over it.

    Raises ConfigError with every fault and its place.
    """
    base = Path(str(files("decnet"))) / "_data" / "fleet" / "services.yaml"
    services: dict[str, Service] = {}
    archetypes: dict[str, tuple[str, ...]] = {}
    flaws: list[Flaw] = []
    for path in [base, *([extra] if extra else [])]:
        _Reader(_document(path), services, archetypes, flaws).read()
    if flaws:
        raise ConfigError("\n".join(f"{flaw.place}: {flaw.message}" for flaw in flaws))
    return Catalogue(services, archetypes)


def _document(path: Path) -> Document:
    try:
        with path.open("rb") as handle:
            raw = handle.read(MAX_FILE_BYTES + 1)
        text = raw.decode("utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8") from error
    document, flaws = (None, [Flaw("over 1 MiB", SourcePosition(str(path)))]) if len(raw) > MAX_FILE_BYTES else parse_strict(text, str(path))  # fmt: skip
    if document is None or flaws:
        raise ConfigError("\n".join(f"{flaw.place}: {flaw.message}" for flaw in flaws))
    return document


@dataclass(slots=True)
class _Reader:
    """Reads one catalogue file into the dictionaries; what is wrong goes to ``flaws``."""

    document: Document
    services: dict[str, Service]
    archetypes: dict[str, tuple[str, ...]]
    flaws: list[Flaw]

    def read(self) -> None:
        value = self.document.value
        if not isinstance(value, dict):
            self._flaw("a catalogue is a mapping", ())
            return
        for key in value.keys() - {"services", "archetypes"}:
            self._flaw(f"unknown key '{key}'", (key,))
        for name, body in self._mapping(value.get("services"), ("services",)).items():
            self._service(name, body)
        for name, pool in self._mapping(value.get("archetypes"), ("archetypes",)).items():
            self._archetype(name, pool)

    def _flaw(self, message: str, path: tuple[int | str, ...]) -> None:
        self.flaws.append(Flaw(message, self.document.key_place(path)))

    def _mapping(self, value: Any, path: tuple[int | str, ...]) -> dict[str, Any]:
        if value is not None and not isinstance(value, dict):
            self._flaw("must be a mapping", path)
        return value if isinstance(value, dict) else {}

    def _known(self, body: dict[str, Any], keys: set[str], path: tuple[int | str, ...]) -> None:
        for key in sorted(body.keys() - keys):
            self._flaw(f"unknown key '{key}'; known: {', '.join(sorted(keys))}", (*path, key))

    def _service(self, name: str, body: Any) -> None:
        path = ("services", name)
        body = self._mapping(body, path)
        self._known(body, _SERVICE_KEYS, path)
        if not NAME.match(name) or "--" in name:  # two of them part decky and service in a container's name
            self._flaw(f"'{name}' is no service name: a-z, 0-9 and single '-', at most 63", path)
        if body.get("transport", "tcp") not in ("tcp", "udp"):
            self._flaw("transport must be tcp or udp", (*path, "transport"))
        played = self._mapping(body.get("opencanary"), (*path, "opencanary"))
        self._known(played, {"module", "options"}, (*path, "opencanary"))
        self.services[name] = Service(
            name,
            self._port(body.get("port"), (*path, "port")),
            str(body.get("transport", "tcp")),
            str(played["module"]) if played.get("module") else None,
            self._mapping(played.get("options"), (*path, "opencanary", "options")),
            self._image(body.get("image"), (*path, "image")),
            self._own(body.get("own"), (*path, "own")),
        )

    def _own(self, value: Any, path: tuple[int | str, ...]) -> str | None:
        if value is not None and value not in OWN_DECOYS:
            self._flaw(f"own is one of {', '.join(OWN_DECOYS)}", path)
            return None
        return value  # type: ignore[no-any-return]

    def _port(self, value: Any, path: tuple[int | str, ...]) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65535:
            self._flaw("port must be a number from 1 to 65535", path)
            return 1
        return value

    def _image(self, value: Any, path: tuple[int | str, ...]) -> Image | None:
        if value is None:
            return None
        body = self._mapping(value, path)
        self._known(body, _IMAGE_KEYS, path)
        if not _IMAGE.match(str(body.get("name", ""))):
            self._flaw("an image needs a name such as group/image:tag", (*path, "name"))
        environment = self._mapping(body.get("environment"), (*path, "environment"))
        return Image(
            str(body.get("name", "")),
            self._port(body.get("port"), (*path, "port")),
            str(body.get("logs", "")),
            tuple(map(str, body.get("tmpfs") or ())),
            {str(k): str(v) for k, v in environment.items()},
            tuple(map(str, body.get("command") or ())),
            body.get("read_only", True) is True,
        )

    def _archetype(self, name: str, pool: Any) -> None:
        path = ("archetypes", name)
        if not isinstance(pool, list) or not pool:
            self._flaw("a pool is a list of services", path)
            return
        for i, item in enumerate(pool):
            if item not in self.services:
                self._flaw(f"unknown service '{item}'", (*path, i))
        self.archetypes[name] = tuple(map(str, pool))
