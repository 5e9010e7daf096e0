"""The fleet file: what an operator writes becomes checked specs, or all errors at once with their places; pure.

Writing specs to the database is left to :mod:`decnet.mutator.topology`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path as FilePath
from typing import Any

from decnet.documents import Document, Flaw, Path
from decnet.errors import FleetError
from decnet.mutator.schedule import legal, parse_interval
from decnet.services import NAME, Catalogue
from decnet.yaml_places import parse_strict

SUBSTRATES = ("compose", "opencanary", "dry_run")
MAX_FILE_BYTES = 1 << 20
LOOPBACK = "127.0.0.1"
_FLEET_KEYS = ("fleet", "substrate", "mutate_interval", "networks", "deckies")
_DECKY_KEYS = (
    "name", "archetype", "pool", "services", "pinned", "mutate_interval", "substrate", "address", "ports", "networks",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class DeckySpec:
    """One decky as it was asked for; no ``services`` means: chosen from the pool."""

    name: str
    substrate: str
    pool: tuple[str, ...]
    archetype: str | None = None
    services: tuple[str, ...] = ()
    pinned: tuple[str, ...] = ()
    mutate_interval: str = ""
    address: str = LOOPBACK
    ports: dict[str, int] = field(default_factory=dict)
    networks: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, equal for equal specs."""
        plain = {
            key: getattr(self, key)
            for key in ("name", "substrate", "archetype", "mutate_interval", "address")
        }
        lists = {key: list(getattr(self, key)) for key in ("pool", "services", "pinned", "networks")}
        return {**plain, **lists, "ports": dict(sorted(self.ports.items()))}


@dataclass(frozen=True, slots=True)
class FleetSpec:
    """One fleet as it was asked for."""

    name: str
    substrate: str
    mutate_interval: str
    networks: tuple[str, ...]
    deckies: tuple[DeckySpec, ...]


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds for a fleet that says nothing."""

    substrate: str = "opencanary"
    mutate_interval: str = "never"
    max_deckies: int = 1000


def load_fleet(path: FilePath, catalogue: Catalogue, defaults: Defaults | None = None) -> FleetSpec:
    """The fleet in a file. Raises FleetError with every fault as ``file:line:column: text``."""
    try:
        with path.open("rb") as handle:
            raw = handle.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise FleetError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(raw) > MAX_FILE_BYTES:
        raise FleetError(f"{path}:1:1: the file is over 1 MiB")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FleetError(f"{path}:{raw[: error.start].count(10) + 1}:1: not UTF-8") from error
    return parse_fleet(text, str(path), catalogue, defaults)


def parse_fleet(text: str, file: str, catalogue: Catalogue, defaults: Defaults | None = None) -> FleetSpec:
    """The fleet in the text of ``file``. Raises FleetError like :func:`load_fleet`."""
    document, flaws = parse_strict(text, file)
    reader = _Reader(document, catalogue, defaults or Defaults(), flaws) if document is not None else None
    fleet = reader.fleet() if reader is not None else None
    if flaws or fleet is None:
        raise FleetError(described(flaws))
    return fleet


def described(flaws: Sequence[Flaw]) -> str:
    """One line for each flaw in the order of the file, each once."""
    ordered = sorted(set(flaws), key=lambda f: (f.place.line, f.place.column, f.message))
    return "\n".join(f"{flaw.place}: {flaw.message}" for flaw in ordered)


def check_decky(body: dict[str, Any], catalogue: Catalogue, defaults: Defaults) -> DeckySpec:
    """The spec in one decky's mapping (the payload of an operation). Raises FleetError with every fault."""
    document = Document("decky", body, {}, {})
    reader = _Reader(document, catalogue, defaults, [])
    spec = reader.decky(body, (), defaults.substrate)
    if reader.flaws or spec is None:
        raise FleetError("\n".join(dict.fromkeys(flaw.message for flaw in reader.flaws)))
    return spec


@dataclass(slots=True)
class _Reader:
    """Walks a document; every fault goes to ``flaws``, so that all are told at once."""

    document: Document
    catalogue: Catalogue
    defaults: Defaults
    flaws: list[Flaw]

    def fleet(self) -> FleetSpec | None:
        body = self.document.value
        if not isinstance(body, dict):
            self._flaw("a fleet is a mapping", ())
            return None
        self._known(body, _FLEET_KEYS, ())
        name = self._name(body.get("fleet"), ("fleet",), "fleet")
        substrate = self._substrate(body.get("substrate", self.defaults.substrate), ("substrate",))
        networks = self._names(body.get("networks"), ("networks",), "network")
        interval = self._interval(
            body.get("mutate_interval", self.defaults.mutate_interval), ("mutate_interval",)
        )
        deckies = self._deckies(body.get("deckies"), substrate)
        self._networks_known(deckies, networks)
        return FleetSpec(name, substrate, interval, networks, tuple(deckies))

    def _deckies(self, items: Any, substrate: str) -> list[DeckySpec]:
        if not isinstance(items, list):
            self._flaw("'deckies' must be a list (an empty one takes the fleet down)", ("deckies",))
            return []
        if len(items) > self.defaults.max_deckies:
            self._flaw(f"more than {self.defaults.max_deckies} deckies", ("deckies",))
            return []
        found = [self.decky(item, ("deckies", i), substrate) for i, item in enumerate(items)]
        self._distinct(found)
        self._apart(found)
        return [spec for spec in found if spec is not None]

    def decky(self, body: Any, path: Path, substrate: str) -> DeckySpec | None:
        """One decky; None when it is not even a mapping."""
        if not isinstance(body, dict):
            self._flaw("a decky is a mapping", path)
            return None
        self._known(body, _DECKY_KEYS, path)
        substrate = self._substrate(body.get("substrate", substrate), (*path, "substrate"))
        pool = self._pool(body, path, substrate)
        ports = self._ports(body.get("ports"), (*path, "ports"))
        pinned = self._services(body.get("pinned"), (*path, "pinned"))
        spec = DeckySpec(
            name=self._name(body.get("name"), (*path, "name"), "decky"),
            substrate=substrate,
            pool=pool,
            archetype=body.get("archetype") if isinstance(body.get("archetype"), str) else None,
            services=self._services(body.get("services"), (*path, "services")),
            pinned=pinned,
            mutate_interval=self._own_interval(body, path),
            address=self._address(body.get("address", LOOPBACK), (*path, "address")),
            ports=ports,
            networks=self._names(body.get("networks"), (*path, "networks"), "network"),
        )
        self._fits(spec, path)
        return spec

    def _fits(self, spec: DeckySpec, path: Path) -> None:
        """Whether pinned ones and services come from the pool and leave each other their ports."""
        if not spec.pool:
            return
        graph = self.catalogue.conflicts(spec.pool, spec.ports)
        if spec.pinned and (why := legal(spec.pinned, spec.pool, (), graph)):
            self._flaw(f"pinned: {why}", (*path, "pinned"))
        if spec.services and (why := legal(spec.services, spec.pool, spec.pinned, graph)):
            self._flaw(f"services: {why}", (*path, "services"))

    def _pool(self, body: dict[str, Any], path: Path, substrate: str) -> tuple[str, ...]:
        archetype, own = body.get("archetype"), body.get("pool")
        if (archetype is None) == (own is None):
            self._flaw("a decky has either an archetype or a pool", path)
            return ()
        if own is not None:
            pool = self._services(own, (*path, "pool"))
            played = self.catalogue.playable(pool, substrate)
            for i, name in enumerate(pool):
                if name not in played:
                    self._flaw(f"{substrate} cannot play '{name}'", (*path, "pool", i))
        elif archetype not in self.catalogue.archetypes:
            known = ", ".join(self.catalogue.archetypes)
            self._flaw(f"unknown archetype '{archetype!s:.40}'; known: {known}", (*path, "archetype"))
            return ()
        else:
            pool = tuple(self.catalogue.playable(self.catalogue.archetypes[str(archetype)], substrate))
        if not pool:
            self._flaw("the pool is empty", path)
        return pool

    def _distinct(self, found: Sequence[DeckySpec | None]) -> None:
        seen: dict[str, int] = {}
        for i, spec in enumerate(found):
            if spec is None or not spec.name:
                continue
            if spec.name in seen:
                self._flaw(f"duplicate decky '{spec.name}'", ("deckies", i, "name"))
            seen.setdefault(spec.name, i)

    def _apart(self, found: Sequence[DeckySpec | None]) -> None:
        """Services that are asked for by name and want one port of one address."""
        owner: dict[tuple[str, str, int], str] = {}
        for i, spec in enumerate(found):
            if spec is None or spec.substrate == "dry_run":
                continue
            for service in dict.fromkeys((*spec.services, *spec.pinned)):
                if service not in self.catalogue.services:
                    continue
                at = (spec.address, *self.catalogue.socket_of(service, spec.ports))
                if owner.setdefault(at, spec.name) != spec.name:
                    text = f"'{service}' wants {at[0]} port {at[2]}, which '{owner[at]}' has"
                    self._flaw(f"{text}: give it another address or port", ("deckies", i))

    def _networks_known(self, deckies: Sequence[DeckySpec], networks: Sequence[str]) -> None:
        for i, spec in enumerate(deckies):
            for name in spec.networks:
                if name not in networks:
                    self._flaw(f"unknown network '{name}'", ("deckies", i, "networks"))

    def _flaw(self, message: str, path: Path) -> None:
        self.flaws.append(Flaw(message, self.document.key_place(path)))

    def _known(self, body: dict[str, Any], keys: Sequence[str], path: Path) -> None:
        for key in body:
            if key not in keys:
                self._flaw(f"unknown key '{key[:40]}'; known: {', '.join(keys)}", (*path, key))

    def _name(self, value: Any, path: Path, what: str) -> str:
        if not isinstance(value, str) or not NAME.match(value):
            shown = "none" if value is None else f"'{value!s:.70}'"
            self._flaw(f"a {what} needs a name of a-z, 0-9 and '-', at most 63, not {shown}", path)
            return ""
        return value

    def _names(self, value: Any, path: Path, what: str) -> tuple[str, ...]:
        if value is None:
            return ()
        if not isinstance(value, list):
            self._flaw(f"must be a list of {what}s", path)
            return ()
        names = [self._name(item, (*path, i), what) for i, item in enumerate(value)]
        if len(set(names)) != len(names):
            self._flaw(f"a {what} is named twice", path)
        return tuple(dict.fromkeys(name for name in names if name))

    def _services(self, value: Any, path: Path) -> tuple[str, ...]:
        if value is None:
            return ()
        if not isinstance(value, list):
            self._flaw("must be a list of services", path)
            return ()
        for i, item in enumerate(value):
            if not isinstance(item, str) or item not in self.catalogue.services:
                known = ", ".join(self.catalogue.services)
                self._flaw(f"unknown service '{item!s:.40}'; known: {known}", (*path, i))
        good = [item for item in value if isinstance(item, str) and item in self.catalogue.services]
        if len(set(good)) != len(good):
            self._flaw("a service is named twice", path)
        return tuple(dict.fromkeys(good))

    def _substrate(self, value: Any, path: Path) -> str:
        if value not in SUBSTRATES:
            self._flaw(f"unknown substrate '{value!s:.40}'; known: {', '.join(SUBSTRATES)}", path)
            return "dry_run"
        return str(value)

    def _own_interval(self, body: dict[str, Any], path: Path) -> str:
        if body.get("mutate_interval") in (None, "inherit"):
            return ""
        return self._interval(body["mutate_interval"], (*path, "mutate_interval"))

    def _interval(self, value: Any, path: Path) -> str:
        try:
            parse_interval(str(value))
        except FleetError as error:
            self._flaw(str(error), path)
        return str(value)

    def _address(self, value: Any, path: Path) -> str:
        plain = (
            value if isinstance(value, str) and "%" not in value else ""
        )  # sockets are told without a zone
        try:
            return str(ip_address(plain))
        except ValueError:
            self._flaw(f"'{value!s:.60}' is no IP address", path)
            return LOOPBACK

    def _ports(self, value: Any, path: Path) -> dict[str, int]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            self._flaw("ports are a mapping of services to numbers", path)
            return {}
        ports: dict[str, int] = {}
        for name, port in value.items():
            if name not in self.catalogue.services:
                self._flaw(f"unknown service '{name[:40]}'", (*path, name))
            elif isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535:
                self._flaw("a port is a number from 1 to 65535", (*path, name))
            else:
                ports[name] = port
        return ports
