"""Which bus: the adapter named by the settings."""

from __future__ import annotations

from collections.abc import Callable

from decnet.bus.base import BaseBus
from decnet.bus.connection import read_connection
from decnet.bus.memory import MemoryBus
from decnet.bus.nats.connection import NatsBus
from decnet.bus.nats.sensor import SensorBus
from decnet.bus.null import AbsentBus, NullBus
from decnet.config import Settings, load_settings
from decnet.errors import ConfigError


def get_bus(client_name: str = "decnet", settings: Settings | None = None) -> BaseBus:
    """A bus that is not connected yet.

    Without a URL the NATS adapter uses the server of the engine that runs on the data directory.
    Raises ConfigError for an unknown type, and for NATS when there is neither a URL nor such an engine.
    """
    settings = settings or load_settings()
    kind = settings.effective_bus_type
    if kind not in _ADAPTERS:
        raise ConfigError(f"unknown bus type {kind!r}; known: {', '.join(sorted(_ADAPTERS))}")
    return _ADAPTERS[kind](client_name, settings)


def bus_of_lone_worker(client_name: str, settings: Settings) -> BaseBus:
    """The bus of a worker that no engine runs; an absent one where the settings and the data directory name none.

    Raises ConfigError for an unknown type.
    """
    kind = settings.effective_bus_type
    nowhere = kind == "nats" and not settings.bus.url and not _of_engine(settings)
    return AbsentBus(client_name) if kind == "null" or nowhere else get_bus(client_name, settings)


def _of_engine(settings: Settings) -> str | None:
    """URL of the bus of the engine that runs on the data directory."""
    connection = read_connection(settings.data_dir)
    return connection.bus_url if connection else None


def _nats(client_name: str, settings: Settings) -> BaseBus:
    bus = settings.bus
    if not bus.url:
        connection = read_connection(settings.data_dir)
        if connection is None or not connection.bus_url:
            raise ConfigError(
                f"no bus URL, and no engine runs on {settings.data_dir}: start one or set bus.url"
            )
        bus = connection.bus_settings(bus)
    assert bus.url is not None
    token = bus.token.get_secret_value() if bus.token else None
    adapter = SensorBus if bus.sensor else NatsBus
    return adapter(bus.url, client_name=client_name, token=token, settings=bus)


_ADAPTERS: dict[str, Callable[[str, Settings], BaseBus]] = {
    "memory": lambda name, settings: MemoryBus(name, settings=settings.bus),
    "nats": _nats,
    "null": lambda name, settings: NullBus(name),
}
