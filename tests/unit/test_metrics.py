"""Metrics: names and units by convention, what they are read from, and that shipped panels and alerts name only what exists."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import CollectorRegistry

from decnet.bus.publish import publish_failures
from decnet.config import LOOPBACK, Settings, listening_at, load_settings
from decnet.errors import ConfigError
from decnet.runtime.batchtimes import BOUNDS_S, BatchTimes
from decnet.runtime.health import WorkerStats
from decnet.runtime.metrics.families import EngineCollector, Source

SHIPPED = resources.files("decnet") / "_data" / "metrics"
HOSTILE = '/log/\x1b]0;x\x07"\\\n\u202e' + "x" * 300


def runner(stats: WorkerStats, state: str = "ok", **health: Any) -> Any:
    return SimpleNamespace(stats=stats, shown_state=lambda: state, figures=lambda: dict(health))


def source(folder: Path = Path("/"), **more: Any) -> Source:
    """An engine with two workers and two sensors, some figures of each."""
    sensor = {
        "kind": "cowrie", "path": "/log/cowrie.json", "state": "ok", "lines": 100, "bytes_behind": 7, "published": 90,
        "refused": 5, "reasons": {"not JSON": 3, "no eventid": 2}, "open_sessions": 4, "last_line_ts": 1.5e9, "rotations": 1,
        "lost_bytes": 6,
    }  # fmt: skip
    other = {**sensor, "path": HOSTILE, "state": "silent", "reasons": {HOSTILE: 1}}
    ttp = WorkerStats(
        processed=11, failed=2, dead_lettered=3, malformed=4, lag=5, last_event_ts=1.6e9, restarts=1
    )
    ttp.add_faults("attacker.session.ended", 8)
    ttp.batches.note(0.2)
    workers = {
        "ttp": runner(ttp, tags_inserted=21, suppressed=9, rules_loaded=300, rules_failed=1, rules_tripped=0),
        "sensors": runner(WorkerStats(note="disk full"), files=2, degraded="x", sensors=[sensor, other]),
        "recorder": runner(WorkerStats(), "paused"),
    }
    supervisor = SimpleNamespace(
        runners=workers,
        bus=SimpleNamespace(connected=True),
        relay=SimpleNamespace(backlog=12, refused=13),
        database=SimpleNamespace(trouble="locked", times_blocked=14),
        beats=SimpleNamespace(not_stored=15),
    )
    figures = {
        "reconnects": 16,
        "connect_failures": 17,
        "live_lost": 18,
        "live_malformed": 19,
        "restarts": 20,
        "notify_dropped": 21,
        "notify_failed": 22,
    }
    parts = SimpleNamespace(counters=lambda: figures, fill=0.25)
    given = {"fires": lambda: {"R0001": 20, "R0002": 1}, "waiting": lambda: {"soc": 2}, **more}
    return Source(supervisor, parts, data_dir=folder, **given)  # type: ignore[arg-type]


def registry_of(given: Source) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(EngineCollector(given))
    ProcessCollector(registry=registry)
    return registry


def parsed(given: Source) -> dict[str, Metric]:
    """What a scrape says, read with the strict parser of OpenMetrics: names, units, suffixes and order are checked by it."""
    text = exposition.generate_latest(registry_of(given)).decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(families: dict[str, Metric], name: str, **labels: str) -> float:
    (found,) = [
        one.value
        for family in families.values()
        for one in family.samples
        if one.name == name and one.labels == labels
    ]
    return float(found)


@pytest.fixture(autouse=True)
def no_failures() -> None:
    publish_failures.clear()


def test_each_figure_has_its_place() -> None:
    publish_failures["BusUnavailable"] = 23
    found = parsed(source())
    cowrie = {"kind": "cowrie", "path": "/log/cowrie.json"}
    assert [
        value(found, name, worker="ttp")
        for name in ("decnet_worker_events_total", "decnet_worker_batch_failures_total", "decnet_worker_dead_letters_total",
                     "decnet_worker_malformed_events_total", "decnet_worker_lag_events", "decnet_worker_restarts_total",
                     "decnet_worker_last_event_timestamp_seconds", "decnet_worker_batch_duration_seconds_count")
    ] == [11, 2, 3, 4, 5, 1, 1.6e9, 1]  # fmt: skip
    assert [
        value(found, "decnet_worker_healthy", worker=name) for name in ("ttp", "sensors", "recorder")
    ] == [1, 0, 0]
    assert (
        value(found, "decnet_worker_element_faults_total", worker="ttp", topic="attacker.session.ended") == 8
    )
    assert value(found, "decnet_rule_fires_total", rule_id="R0001") == 20
    assert [value(found, f"decnet_{name}") for name in ("tags_total", "tags_suppressed_total", "rules_loaded", "rules_failed")] == [
        21, 9, 300, 1,
    ]  # fmt: skip
    assert [
        value(found, f"decnet_sensor_{name}", **cowrie)
        for name in (
            "up",
            "lines_total",
            "events_total",
            "behind_bytes",
            "open_sessions",
            "rotations_total",
            "lost_bytes_total",
        )
    ] == [1, 100, 90, 7, 4, 1, 6]
    assert value(found, "decnet_sensor_refused_lines_total", **cowrie, reason="not JSON") == 3
    assert value(found, "decnet_sensor_refused_lines_total", **cowrie, reason="no eventid") == 2
    assert [
        value(found, f"decnet_{name}")
        for name in ("bus_connected", "outbox_events", "outbox_refused_events_total", "bus_stream_fill_ratio", "bus_reconnects_total",
                     "bus_connect_failures_total", "bus_lost_live_events_total", "bus_malformed_live_events_total",
                     "bus_server_restarts_total", "notify_dropped_messages_total", "notify_failed_messages_total",
                     "database_writable", "database_blocked_total", "heartbeats_not_stored_total")
    ] == [1, 12, 13, 0.25, 16, 17, 18, 19, 20, 21, 22, 0, 14, 15]  # fmt: skip
    assert value(found, "decnet_publish_waiting_messages", target="soc") == 2
    assert value(found, "decnet_bus_publish_failures_total", error="BusUnavailable") == 23
    assert value(found, "decnet_worker_figure", worker="sensors", figure="files") == 2
    assert value(found, "decnet_data_free_bytes") > 0


def test_a_label_holds_no_control_character_and_has_an_end() -> None:
    text = exposition.generate_latest(registry_of(source())).decode()
    assert text.isascii() or "\u202e" not in text
    assert "\x1b" not in text
    paths = [one.labels["path"] for one in parsed(source())["decnet_sensor_up"].samples]
    assert max(map(len, paths)) == 200


def test_what_nobody_knows_is_absent_and_not_0() -> None:
    bare = source(Path("/no/such/place"), fires=dict, waiting=dict)
    bare.supervisor.runners.clear()  # type: ignore[attr-defined]
    bare = bare._replace(parts=SimpleNamespace(counters=dict, fill=None))  # type: ignore[arg-type]
    found = parsed(bare)
    empty = (
        "decnet_tags",
        "decnet_rules_loaded",
        "decnet_bus_stream_fill_ratio",
        "decnet_data_free_bytes",
        "decnet_sensor_up",
    )
    assert [found[name].samples for name in empty] == [[]] * 5
    assert value(found, "decnet_bus_connected") == 1


UNITS = ("bytes", "seconds", "ratio")
COUNTED = ("events", "lines", "messages", "letters", "sessions", "loaded", "failed", "tripped")
FLAGS = {
    "decnet_worker_healthy",
    "decnet_sensor_up",
    "decnet_bus_connected",
    "decnet_database_writable",
    "decnet_worker_figure",
}


def test_names_follow_the_conventions() -> None:
    found = parsed(source())
    ours = {name: family for name, family in found.items() if name.startswith("decnet_")}
    assert len(ours) > 35
    for name, family in ours.items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
        assert family.documentation.endswith(".")
        assert not name.endswith(("_total", "_count", "_sum", "_bucket"))
        if family.type == "gauge" and name not in FLAGS:
            assert name.endswith((*UNITS, *COUNTED)), name
    assert not {name for name in ours if name.endswith(("_ms", "_kb", "_percent", "_milliseconds"))}


# --- how long batches take


def test_a_batch_is_in_the_class_of_its_bound() -> None:
    times = BatchTimes()
    times.note(BOUNDS_S[0])
    times.note(BOUNDS_S[0] + 1e-9)
    times.note(BOUNDS_S[-1])
    times.note(BOUNDS_S[-1] + 1e-6)
    assert times.up_to() == [1, *[2] * (len(BOUNDS_S) - 2), 3, 4]
    assert times.seconds == pytest.approx(2 * (BOUNDS_S[0] + BOUNDS_S[-1]), abs=1e-5)


def test_a_batch_that_fails_took_its_time_too() -> None:
    times = BatchTimes()
    with pytest.raises(ValueError, match="x"), times.timed():
        raise ValueError("x")
    assert times.up_to()[-1] == 1


# --- where it listens


@pytest.mark.parametrize(
    ("text", "address"),
    [("9464", (LOOPBACK, 9464)), (":9464", (LOOPBACK, 9464)), ("0.0.0.0:9464", ("0.0.0.0", 9464)), ("[::1]:1", ("::1", 1)),
     ("host.example:65535", ("host.example", 65535)), ("0", (LOOPBACK, 0))],
)  # fmt: skip
def test_a_port_alone_is_one_of_this_host(text: str, address: tuple[str, int]) -> None:
    assert listening_at(text) == address
    assert load_settings(metrics={"address": text}).metrics.address == text


@pytest.mark.parametrize("text", ["", "x", "1.2.3.4", "65536", "::1:9464", "9464/metrics", "-1", "٣"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"metrics\.address"):
        load_settings(metrics={"address": text})


def test_metrics_are_off() -> None:
    settings = Settings()
    assert settings.metrics.address is None
    assert settings.telemetry.metrics is False


# --- what ships with them

FUNCTIONS = {"sum", "min", "max", "count", "rate", "increase", "deriv", "histogram_quantile", "topk", "time", "vector", "by", "on", "and",
             "or", "label_values", "le"}  # fmt: skip
OF_COUNTERS = re.compile(r"\b(rate|increase)\(\s*([a-z_]+)")


def series() -> dict[str, tuple[str, set[str]]]:
    """Each series that is served: the type of its family, and its labels."""
    made: dict[str, tuple[str, set[str]]] = {}
    for family in registry_of(source()).collect():
        for one in family.samples:
            _, labels = made.setdefault(one.name, (family.type, set()))
            labels |= set(one.labels)
    return made


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SHIPPED / "dashboard.json").read_text("utf-8"))
    return found


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((SHIPPED / "alerts.yaml").read_text("utf-8"))["groups"]
    return list(group["rules"])


def expressions() -> list[str]:
    panels = [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ())]
    return [*panels, *(rule["expr"] for rule in alerts())]


def faults(expression: str) -> list[str]:
    """What of an expression cannot be: names that nobody serves, labels that a series has not, brackets that stay open."""
    known, found = series(), []
    bare = re.sub(r'"[^"]*"', '""', expression)
    found += [f"open {a}" for a, b in ("()", "{}", "[]") if bare.count(a) != bare.count(b)]
    selectors = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|on) *\([^)]*\)", " ", bare)
    names = set(re.findall(r"[a-z_][a-z0-9_]*", selectors)) - FUNCTIONS - {"e6", "e9"}
    found += [f"no series {name}" for name in names if name not in known]
    labels = {"job", "instance"}.union(*(known[name][1] for name in names if name in known))
    asked = set(re.findall(r"([a-z_]+)=~?", bare))
    asked |= {
        one.strip() for group in re.findall(r"\b(?:by|on) *\(([^)]*)\)", bare) for one in group.split(",")
    }
    found += [f"no label {name}" for name in asked - labels]
    found += [f"{how} of no counter {name}" for how, name in OF_COUNTERS.findall(bare)
              if known.get(name, ("",))[0] not in ("counter", "histogram")]  # fmt: skip
    return found


@pytest.mark.parametrize("expression", expressions())
def test_panels_and_alerts_ask_for_what_is_served(expression: str) -> None:
    assert faults(expression) == []


@pytest.mark.parametrize(
    ("wrong", "why"),
    [("decnet_nothing == 0", "no series decnet_nothing"), ("sum by (nobody) (decnet_sensor_up)", "no label nobody"),
     ('decnet_sensor_up{colour="red"}', "no label colour"), ("rate(decnet_worker_lag_events[5m])", "rate of no counter decnet_worker_lag_events"),
     ("sum(decnet_sensor_up", "open (")],
)  # fmt: skip
def test_a_wrong_expression_would_be_found(wrong: str, why: str) -> None:
    assert faults(wrong) == [why]


def test_the_alerts_are_whole() -> None:
    for rule in alerts():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"Decnet[A-Za-z]+", rule["alert"])
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description"}
        text = " ".join(rule["annotations"].values())
        named = set(re.findall(r"\$labels\.(\w+)", text))
        by = re.search(r"by \(([^)]*)\)", rule["expr"])
        kept = {one.strip() for one in by[1].split(",")} if by else {"instance", "job"}.union(
            *(labels for name, (_, labels) in series().items() if name in rule["expr"])
        )  # fmt: skip
        assert named <= kept, rule["alert"]
    assert len({rule["alert"] for rule in alerts()}) == len(alerts())


def test_the_dashboard_is_whole() -> None:
    made = dashboard()
    panels = made["panels"]
    assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["type"] == "row" or panel["targets"]
    variables = {one["name"] for one in made["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]+)\b", json.dumps(panels)))
    assert used <= variables
    assert "${datasource}" in json.dumps(panels), "no data source of somebody else's is named"
