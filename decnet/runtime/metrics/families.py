"""The figures of an engine as metric families, with the names and units that Prometheus and OpenMetrics ask for.

They are read when somebody asks; nothing is kept here. Labels hold names of workers, rules, settings and fixed words,
never what an attacker wrote: https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from decnet import __version__
from decnet.bus.publish import publish_failures
from decnet.hostile import visible
from decnet.runtime.batchtimes import BOUNDS_S
from decnet.runtime.parts import PartsHealth
from decnet.runtime.runner import WorkerRunner
from decnet.runtime.supervisor import Supervisor

_LABEL = 200
"""Longest value of a label."""
_GOOD = frozenset({"ok"})
Health = Mapping[str, Any]


class Source(NamedTuple):
    """What the figures are of: the workers, the parts that are none, what tells people, and the place of the data."""

    supervisor: Supervisor
    parts: PartsHealth
    fires: Callable[[], Mapping[str, int]]
    """Tags stored so far by rule."""
    waiting: Callable[[], Mapping[str, int]]
    """Messages that wait for a target of ``publish``, by its name."""
    data_dir: Path


class EngineCollector(Collector):
    """All families of one engine."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def collect(self) -> Iterator[Metric]:
        """The families now."""
        runners = self.source.supervisor.runners
        health = {name: runner.figures() for name, runner in runners.items()}
        yield InfoMetricFamily("decnet_build", "Version of the engine.", {"version": __version__})
        yield from _of_workers(runners, health)
        yield from _of_rules(self.source.fires(), health.get("ttp", {}))
        yield from _of_sensors(health.get("sensors", {}).get("sensors", ()))
        yield from _of_bus(self.source)
        yield from _of_database(self.source)
        yield _others(health)


def _of_workers(runners: Mapping[str, WorkerRunner], health: Mapping[str, Health]) -> Iterator[Metric]:
    stats = {name: runner.stats for name, runner in runners.items()}
    states = {name: runner.shown_state() for name, runner in runners.items()}
    green = {
        name: state in _GOOD and not (health[name].get("degraded") or stats[name].trouble)
        for name, state in states.items()
    }
    yield _gauge("decnet_worker_healthy", "1 while a worker is ok, 0 in every other state.", green)
    yield _counter("decnet_worker_events", "Events handled.", {n: s.processed for n, s in stats.items()})
    yield _counter(
        "decnet_worker_batch_failures",
        "Attempts of a handler that failed.",
        {n: s.failed for n, s in stats.items()},
    )
    yield _counter(
        "decnet_worker_dead_letters",
        "Events and elements given up.",
        {n: s.dead_lettered for n, s in stats.items()},
    )
    yield _counter(
        "decnet_worker_malformed_events", "Events that are none.", {n: s.malformed for n, s in stats.items()}
    )
    yield _counter(
        "decnet_worker_restarts", "Lives after the first.", {n: s.restarts for n, s in stats.items()}
    )
    yield _gauge(
        "decnet_worker_lag_events",
        "Events in the stream that are not acknowledged, as of the last heartbeat.",
        {n: s.lag for n, s in stats.items()},
    )
    yield _gauge(
        "decnet_worker_last_event_timestamp_seconds",
        "Time of the newest event handled, in event time.",
        {n: s.last_event_ts for n, s in stats.items() if s.last_event_ts},
    )
    yield _counter_of(
        "decnet_worker_element_faults",
        "Elements of events that could not be read.",
        ("worker", "topic"),
        [((n, topic), count) for n, s in stats.items() for topic, count in s.element_faults.items()],
    )
    yield _batch_times(runners)


def _batch_times(runners: Mapping[str, WorkerRunner]) -> Metric:
    found = HistogramMetricFamily(
        "decnet_worker_batch_duration_seconds",
        "How long batches took, with their commits.",
        labels=["worker"],
        unit="seconds",
    )
    for name, runner in runners.items():
        times = runner.stats.batches
        bounds = [*(str(bound) for bound in BOUNDS_S), "+Inf"]
        found.add_metric([name], list(zip(bounds, times.up_to(), strict=True)), times.seconds)
    return found


def _of_rules(fires: Mapping[str, int], ttp: Health) -> Iterator[Metric]:
    yield _counter_of(
        "decnet_rule_fires",
        "Tags stored, by rule.",
        ("rule_id",),
        [((rule,), count) for rule, count in fires.items()],
    )
    yield _alone(CounterMetricFamily, "decnet_tags", "Tags stored.", ttp.get("tags_inserted"))
    yield _alone(
        CounterMetricFamily, "decnet_tags_suppressed", "Tags that were not stored.", ttp.get("suppressed")
    )
    yield _alone(GaugeMetricFamily, "decnet_rules_loaded", "Rules in force.", ttp.get("rules_loaded"))
    yield _alone(GaugeMetricFamily, "decnet_rules_failed", "Rule files that failed.", ttp.get("rules_failed"))
    yield _alone(GaugeMetricFamily, "decnet_rules_tripped", "Rules out of action.", ttp.get("rules_tripped"))


_SENSOR = ("kind", "path")


def _of_sensors(rows: Iterable[Health]) -> Iterator[Metric]:
    listed = [((str(row.get("kind")), visible(str(row.get("path")), _LABEL)), row) for row in rows]

    def each(name: str) -> list[tuple[tuple[str, ...], float]]:
        return [(place, row[name]) for place, row in listed if isinstance(row.get(name), (int, float))]

    up = [(place, float(row.get("state") == "ok")) for place, row in listed]
    yield _gauge_of("decnet_sensor_up", "1 while a sensor is read and not silent.", _SENSOR, up)
    yield _counter_of("decnet_sensor_lines", "Lines read (a remote sensor: events).", _SENSOR, each("lines"))
    yield _counter_of("decnet_sensor_events", "Events published.", _SENSOR, each("published"))
    yield _gauge_of("decnet_sensor_behind_bytes", "Bytes not read yet.", _SENSOR, each("bytes_behind"))
    yield _gauge_of("decnet_sensor_open_sessions", "Sessions still open.", _SENSOR, each("open_sessions"))
    yield _gauge_of(
        "decnet_sensor_last_line_timestamp_seconds",
        "Time of the newest line, in log time.",
        _SENSOR,
        each("last_line_ts"),
    )
    yield _counter_of("decnet_sensor_rotations", "Rotations followed.", _SENSOR, each("rotations"))
    yield _counter_of(
        "decnet_sensor_lost_bytes", "Bytes gone before they were read.", _SENSOR, each("lost_bytes")
    )
    yield _counter_of(
        "decnet_sensor_refused_lines",
        "Lines refused, by reason.",
        (*_SENSOR, "reason"),
        [
            ((*place, visible(str(reason), _LABEL)), count)
            for place, row in listed
            for reason, count in (row.get("reasons") or {}).items()
        ],
    )


_OF_BUS = {
    "reconnects": ("decnet_bus_reconnects", "Connections made anew."),
    "connect_failures": ("decnet_bus_connect_failures", "Attempts to connect that failed."),
    "live_lost": ("decnet_bus_lost_live_events", "Live events that a slow reader lost."),
    "live_malformed": ("decnet_bus_malformed_live_events", "Live events that are none."),
    "restarts": ("decnet_bus_server_restarts", "Restarts of the embedded server."),
    "notify_dropped": ("decnet_notify_dropped_messages", "Messages to people that found no room."),
    "notify_failed": ("decnet_notify_failed_messages", "Messages to people that could not be delivered."),
}
"""Counter of the bus's health → family."""


def _of_bus(source: Source) -> Iterator[Metric]:
    supervisor, said = source.supervisor, source.parts.counters()
    yield _alone(
        GaugeMetricFamily,
        "decnet_bus_connected",
        "1 while the bus is there.",
        float(supervisor.bus.connected),
    )
    yield _alone(
        GaugeMetricFamily, "decnet_outbox_events", "News that waits for the bus.", supervisor.relay.backlog
    )
    yield _alone(
        CounterMetricFamily,
        "decnet_outbox_refused_events",
        "News that no bus takes.",
        supervisor.relay.refused,
    )
    yield _alone(
        GaugeMetricFamily,
        "decnet_bus_stream_fill_ratio",
        "Share of the stream's room in use.",
        source.parts.fill,
    )
    for name, (family, help_text) in _OF_BUS.items():
        yield _alone(CounterMetricFamily, family, help_text, said.get(name))
    yield _gauge_of(
        "decnet_publish_waiting_messages",
        "Messages that wait for a target of `publish`.",
        ("target",),
        [((name,), count) for name, count in source.waiting().items()],
    )
    yield _counter_of(
        "decnet_bus_publish_failures",
        "News that was lost, by error.",
        ("error",),
        [((name,), count) for name, count in publish_failures.items()],
    )


def _of_database(source: Source) -> Iterator[Metric]:
    watch = source.supervisor.database
    yield _alone(
        GaugeMetricFamily, "decnet_database_writable", "1 while it can be written.", float(not watch.trouble)
    )
    yield _alone(
        CounterMetricFamily,
        "decnet_database_blocked",
        "Times it was locked by somebody else.",
        watch.times_blocked,
    )
    yield _alone(
        CounterMetricFamily,
        "decnet_heartbeats_not_stored",
        "Heartbeats left out.",
        source.supervisor.beats.not_stored,
    )
    room = None
    with suppress(OSError):
        room = shutil.disk_usage(source.data_dir).free
    yield _alone(GaugeMetricFamily, "decnet_data_free_bytes", "Room left where the data directory is.", room)


def _others(health: Mapping[str, Health]) -> Metric:
    """Every other number of a worker's health under its own name there, so that none is hidden."""
    return _gauge_of(
        "decnet_worker_figure",
        "Figures of `workers --json`, by name.",
        ("worker", "figure"),
        [
            ((worker, figure), value)
            for worker, said in health.items()
            for figure, value in said.items()
            if isinstance(value, (int, float)) and not isinstance(value, bool)
        ],
    )


Samples = Sequence[tuple[tuple[str, ...], float]]


def _counter(name: str, help_text: str, by_worker: Mapping[str, float]) -> Metric:
    return _counter_of(name, help_text, ("worker",), [((n,), v) for n, v in by_worker.items()])


def _gauge(name: str, help_text: str, by_worker: Mapping[str, float]) -> Metric:
    return _gauge_of(name, help_text, ("worker",), [((n,), v) for n, v in by_worker.items()])


def _counter_of(name: str, help_text: str, labels: Sequence[str], samples: Samples) -> Metric:
    found = CounterMetricFamily(name, help_text, labels=labels)
    for values, value in samples:
        found.add_metric(values, value)
    return found


def _gauge_of(name: str, help_text: str, labels: Sequence[str], samples: Samples) -> Metric:
    found = GaugeMetricFamily(name, help_text, labels=labels)
    for values, value in samples:
        found.add_metric(values, float(value))
    return found


def _alone(
    kind: type[CounterMetricFamily] | type[GaugeMetricFamily], name: str, help_text: str, value: float | None
) -> Metric:
    """A family of one figure; of none where nobody knows it."""
    found = kind(name, help_text, labels=())
    if value is not None:
        found.add_metric((), value)
    return found
