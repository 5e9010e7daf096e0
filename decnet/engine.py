"""The composition root: settings become a bus, a database, workers and their supervisor.

It knows everybody and is known by none below. One engine runs per data directory; the connection
file there tells other processes how to reach its bus and database.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from decnet.bus.base import BaseBus
from decnet.bus.connection import (
    LOG_IN,
    Connection,
    hold_directory,
    read_connection,
    remove_connection,
    write_connection,
)
from decnet.bus.factory import get_bus
from decnet.bus.nats.connection import NatsBus
from decnet.bus.nats.server import EmbeddedServer
from decnet.bus.purge import purge_stream
from decnet.config import BusSettings, Settings
from decnet.db.repository import BaseRepository
from decnet.errors import ConfigError, EngineError
from decnet.logs import get_logger
from decnet.runtime import KNOWN_WORKERS
from decnet.runtime.idle import IdleWatch
from decnet.runtime.leases import OWNER
from decnet.runtime.notify import Notifier
from decnet.runtime.parts import PartsHealth
from decnet.runtime.supervisor import Supervisor
from decnet.runtime.worker import Worker
from decnet.telemetry import configure_tracing
from decnet.ttp.store.base import RuleStore
from decnet.ttp.store.factory import get_rule_store

if TYPE_CHECKING:
    from decnet.runtime.metrics.families import Source
    from decnet.runtime.metrics.serving import ServedMetrics
    from decnet.runtime.publish.publisher import Publisher
    from decnet.sensors.worker import SensorsWorker
    from decnet.ttp.worker import TtpWorker

log = get_logger(__name__)
PURGE_INTERVAL_S = 60.0
MIN_FILES = 32
"""Files, sockets and pipes that an engine with one sensor has open at a time, and some to spare."""
GC_THRESHOLDS = (5_000, 3, 200)
"""A young collection walks 5,000 objects and a middle one 20,000: some 3 and 12 ms that the event loop waits for."""


def settle_collector() -> None:
    """What was loaded until now lives as long as the process: the collector need not walk it again and again.

    Batches make and drop much at once; looking after every 700 of them costs a tenth of the time. Nothing is collected
    first: of 150,000 objects some hundred are garbage, and finding them would hold the event loop for 70 ms.
    """
    gc.freeze()
    gc.enable()


def _check_files() -> None:
    """Takes what may be taken of open files where too few are allowed. Raises EngineError when that is too few too."""
    few, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if few >= MIN_FILES:
        return
    if most != resource.RLIM_INFINITY and most < MIN_FILES:
        raise EngineError(
            f"this process may open {most} files, and needs {MIN_FILES} at least: see `ulimit -n`"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (MIN_FILES if most == resource.RLIM_INFINITY else most, most))
    log.warning("more open files than this process was given", given=few, needed=MIN_FILES)


class Engine:
    """Everything that runs in one engine process; ``start`` once, ``stop`` once."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.server: EmbeddedServer | None = None
        self.bus: BaseBus
        self.repo: BaseRepository
        self.rules: RuleStore
        self.sensors: SensorsWorker | None = None
        self.ttp: TtpWorker | None = None
        self.supervisor: Supervisor
        self.parts: PartsHealth
        self.notifier: Notifier | None = None
        self.metrics: ServedMetrics | None = None
        self._undo = AsyncExitStack()

    async def start(self) -> None:
        """Opens the database, starts the bus and the workers.

        Raises EngineError, DatabaseError, BusError or ConfigError; nothing is left behind then.
        """
        gc.set_threshold(*GC_THRESHOLDS)  # a start makes much that stays, and walking it is in vain
        try:
            await self._start()
        except BaseException:
            await self._undo.aclose()
            raise
        settle_collector()

    async def _start(self) -> None:
        self._check_rules()
        self._check_remote()
        self._check_log_in()
        _check_files()
        self._undo.callback(configure_tracing(self.settings.telemetry))
        self._claim_data_dir(self.settings.data_dir)
        self.settings = await self._with_server(
            self.settings
        )  # the directory is ours before its database is touched
        self.repo = await BaseRepository.open(self.settings.db_url)
        self._undo.push_async_callback(self.repo.close)
        self.bus = get_bus(client_name="engine", settings=self.settings)
        self._undo.push_async_callback(self.bus.close)
        if self.server is not None:
            await self.bus.connect()
        self._announce()
        self.rules = get_rule_store(self.settings, repo=self.repo, bus=self.bus)
        self._undo.push_async_callback(self.rules.close)
        self.supervisor = Supervisor(self._workers(), self.repo, self.bus, self.settings)
        self.parts = PartsHealth(self.bus, self.supervisor, self.settings, self._own_figures)
        self.notifier = self._told_others()
        self.metrics = await self._served_metrics()
        # What may be wrong with the settings was found before: nothing runs on then.
        await self.supervisor.start()
        await self.parts.beat()  # what an earlier run said of its bus last would be told of this one
        self.supervisor.serve("parts-health", self.parts.run)
        if isinstance(self.bus, NatsBus) and not self.settings.bus.sensor:
            self.supervisor.serve("purge", lambda bus=self.bus: self._purge(bus))  # type: ignore[misc]
        if self.notifier is not None:
            for name, service in self.notifier.services().items():
                self.supervisor.serve(name, service)
        if self.metrics is not None:
            self.supervisor.serve("metrics-otlp", self.metrics.run)
        log.info(
            "engine started", data_dir=str(self.settings.data_dir), workers=list(self.supervisor.runners)
        )

    def _told_others(self) -> Notifier | None:
        """Whoever is to hear of news at once: a program, other systems, or nobody. Raises ConfigError."""
        told, publish = self.settings.notify, self.settings.publish
        if told.command is None and not publish.targets:
            return None
        publisher: Publisher | None = None
        if publish.targets:
            from decnet.runtime.publish.publisher import Publisher  # here: most engines tell nobody

            publisher = Publisher(publish, self.repo, self.bus)
            self._undo.push_async_callback(publisher.close)
        return Notifier(told, self.repo, self.bus, publisher=publisher)

    async def _served_metrics(self) -> ServedMetrics | None:
        """The port for Prometheus and the rounds over OTLP, where they are asked for. Raises EngineError or ConfigError."""
        if self.settings.metrics.address is None and not self.settings.telemetry.metrics:
            return None
        from decnet.runtime.metrics.serving import (
            serve_metrics,
        )  # here: most engines need no library of metrics

        served = await serve_metrics(self._figures(), self.settings)
        self._undo.push_async_callback(served.stop)
        return served

    def _figures(self) -> Source:
        from decnet.runtime.metrics.families import Source

        fired = self.ttp.fired if self.ttp is not None else {}
        waiting = self.notifier.waiting if self.notifier is not None else dict
        return Source(self.supervisor, self.parts, lambda: fired, waiting, self.settings.data_dir)

    def _check_rules(self) -> None:
        """A mistyped directory is said at once: without it the rules of an earlier run would go on in silence."""
        wanted = self.settings.workers or KNOWN_WORKERS
        if "ttp" in wanted and not self.settings.rules.is_dir():
            raise ConfigError(f"rules: {self.settings.rules} is no directory; give one with --rules DIR")

    def _check_remote(self) -> None:
        """A remote sensor reads its logs and publishes; its user on the bus has no rights for anything else."""
        bus = self.settings.bus
        if not bus.sensor:
            return
        if self.settings.workers != ("sensors",):
            raise ConfigError(
                f"bus.sensor: host {bus.sensor} is a remote sensor; start it with --workers sensors"
            )
        if self.settings.effective_bus_type != "nats" or not bus.url:
            raise ConfigError(
                f"bus.sensor: name the bus of the engine that sensor {bus.sensor} reports to: --bus URL"
            )

    def _check_log_in(self) -> None:
        """The server that an engine starts knows one token, made for it: a log-in is for a server elsewhere."""
        bus = self.settings.bus
        if self.settings.effective_bus_type != "nats" or bus.url:
            return
        for name in LOG_IN:
            if getattr(bus, name):
                raise ConfigError(
                    f"bus.{name}: a log-in is for a bus of your own; name it with --bus URL, or leave bus.{name} out"
                )

    def _claim_data_dir(self, path: Path) -> None:
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise EngineError(f"data directory {path} cannot be made: {error.strerror}") from error
        other = read_connection(path)
        if other is not None:
            raise EngineError(f"an engine already runs on {path} (pid {other.pid}); attach to it or stop it")

    async def _with_server(self, settings: Settings) -> Settings:
        """Holds the data directory; settings that name the embedded server, when the bus is NATS without a URL."""
        if settings.effective_bus_type != "nats" or settings.bus.url:
            self._undo.callback(hold_directory(settings.data_dir).close)
            return settings
        self.server = EmbeddedServer(settings.data_dir, settings.bus)
        await self.server.start()
        self._undo.push_async_callback(self.server.stop)
        bus = settings.bus.model_dump() | {"url": self.server.url, "token": self.server.token}
        return settings.model_copy(update={"bus": BusSettings(**bus)})

    def _announce(self) -> None:
        """Writes the connection file; a memory or null bus cannot be reached by others."""
        if self.settings.effective_bus_type != "nats":
            return
        write_connection(self.settings.data_dir, Connection.of(self.settings.bus, self.settings.db_url))
        self._undo.callback(remove_connection, self.settings.data_dir)

    def _workers(self) -> list[Worker]:
        wanted = self.settings.workers or KNOWN_WORKERS
        for name in wanted:
            if name not in KNOWN_WORKERS:
                raise ConfigError(f"unknown worker '{name}'; this version runs: {', '.join(KNOWN_WORKERS)}")
        return [self._build(name) for name in KNOWN_WORKERS if name in wanted]

    def _build(self, name: str) -> Worker:
        """One worker, loaded now: a host that only ships its logs has no room for the others."""
        match name:
            case "sensors":
                from decnet.sensors.worker import SensorsWorker

                self.sensors = SensorsWorker(self.settings)
                return self.sensors
            case "recorder":
                from decnet.recorder.worker import RecorderWorker

                return RecorderWorker(self.settings)
            case "behave":
                from decnet.behave.worker import BehaveWorker

                return BehaveWorker()
            case "ttp":
                from decnet.ttp.worker import TtpWorker

                self.ttp = TtpWorker(self.rules, self.settings)
                return self.ttp
            case "attribution":
                from decnet.attribution.worker import AttributionWorker

                return AttributionWorker(self.settings)
            case "mutator":
                from decnet.mutator.worker import MutatorWorker

                return MutatorWorker(self.settings)
            case "intel":
                from decnet.intel.worker import IntelWorker

                return IntelWorker(self.settings)
            case "decoys":
                from decnet.decoys.worker import DecoysWorker

                return DecoysWorker(self.settings)
        raise ConfigError(f"unknown worker '{name}'")

    def _own_figures(self) -> dict[str, Any]:
        """What bites the engine itself, for the health of its bus."""
        own: dict[str, Any] = {"restarts": self.server.restarts if self.server else 0}
        if self.notifier is not None:
            own |= self.notifier.figures()
        return own

    async def _purge(self, bus: NatsBus) -> None:
        while True:
            await asyncio.sleep(PURGE_INTERVAL_S)
            ttl = max(PURGE_INTERVAL_S * 2, self.settings.runtime.lease_s)
            if await self.repo.lease_acquire("purge", OWNER, ttl):
                await purge_stream(bus)

    async def until_idle(self, seconds: float) -> str | None:
        """Works until idle for ``seconds`` on end, ends open sessions, works those off likewise.

        Returns None, or what is stuck after a minute without progress.
        """
        watch = IdleWatch(self.supervisor, self.sensors)
        stuck = await watch.wait(seconds)
        if stuck is None and self.sensors is not None:
            await self.sensors.end_open_sessions("eof")
            # What those sessions ended with is in the rows before the jobs look at them.
            await watch.wait(0.0)
            for runner in self.supervisor.runners.values():
                for job in runner.worker.jobs:
                    if job.by_data:
                        await runner.run_job(job, patient=True)
            stuck = await watch.wait(seconds)
        return stuck

    def unread_sensors(self) -> list[str]:
        """Sensors whose log is missing or cannot be read, with the reason."""
        if self.sensors is None:
            return []
        from decnet.sensors.worker import unread

        return unread(self.sensors.status())

    async def stop(self, grace_s: float | None = None) -> None:
        """Ends workers within ``grace_s`` seconds, then bus, server, database and connection file."""
        try:
            await self.supervisor.stop(grace_s)
            await self.parts.beat(stopped=True)
        finally:
            await self.supervisor.beats.close()
            await self._undo.aclose()
        log.info("engine stopped", pid=os.getpid())
