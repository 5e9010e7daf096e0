"""``--metrics``: what an engine that reads a log serves, over a real port; and the same figures over OTLP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as plain_families
from prometheus_client.registry import CollectorRegistry
from structlog.testing import capture_logs

from decnet.config import Settings
from decnet.engine import Engine
from decnet.errors import EngineError
from decnet.runtime.metrics import endpoint
from decnet.runtime.metrics.endpoint import MAX_CONNECTIONS, MAX_HEAD, MetricsEndpoint
from tests.cowriegen import lines

HOSTILE = "zzhostile"


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with capture_logs():
        yield


def settings(folder: Path, **more: Any) -> Settings:
    log = folder / "cowrie.json"
    made = lines(200, 7)
    command = {
        **json.loads(made[-1]),
        "eventid": "cowrie.command.input",
        "input": f"echo {HOSTILE}; uname -a",
        "sensor": HOSTILE,
    }
    log.write_text(
        "\n".join([*made, json.dumps(command), "{ no JSON", f'{{"eventid": "{HOSTILE}"}}']) + "\n", "utf-8"
    )
    return Settings(
        data_dir=folder / "data", bus_type="memory", ttp_rule_store_type="filesystem",
        workers=("sensors", "recorder", "ttp"), sensors=[{"kind": "cowrie", "path": log}], **{"metrics": {"address": "0"}, **more},
    )  # fmt: skip


@asynccontextmanager
async def worked_off(given: Settings) -> AsyncIterator[Engine]:
    """An engine that has read everything."""
    engine = Engine(given)
    await engine.start()
    try:
        assert await engine.until_idle(0.2) is None
        for runner in engine.supervisor.runners.values():
            await runner.beat()
        yield engine
    finally:
        await engine.stop()


async def asked(port: int, request: bytes) -> tuple[bytes, dict[bytes, bytes], bytes]:
    """Status line, headers, body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    whole = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    head, _, body = whole.partition(b"\r\n\r\n")
    status, *rest = head.split(b"\r\n")
    return status, dict(line.lower().split(b": ", 1) for line in rest), body


def get(path: str = "/metrics", **headers: str) -> bytes:
    named = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n{named}\r\n".encode()


async def test_an_engine_serves_what_it_did_and_nothing_of_an_attacker(tmp_path: Path) -> None:
    async with worked_off(settings(tmp_path)) as engine:
        assert engine.metrics is not None
        assert engine.metrics.endpoint is not None
        port = engine.metrics.endpoint.port
        status, headers, body = await asked(port, get(Accept="application/openmetrics-text;version=1.0.0"))
        plain = await asked(port, get())
        tags = await engine.repo.list_tags(limit=0)
    assert status == b"HTTP/1.1 200 OK"
    assert headers[b"content-type"].startswith(b"application/openmetrics-text; version=1.0.0")
    families = {family.name: family for family in text_string_to_metric_families(body.decode())}
    (read,) = families["decnet_sensor_lines"].samples[:1]
    assert read.value == 203
    (behind,) = families["decnet_sensor_behind_bytes"].samples
    assert behind.value == 0
    assert sum(one.value for one in families["decnet_sensor_refused_lines"].samples) >= 1
    fires = {one.labels["rule_id"]: one.value for one in families["decnet_rule_fires"].samples}
    assert sum(fires.values()) == len(tags) > 10
    assert fires.keys() == {tag["rule_id"] for tag in tags}
    lag = {one.labels["worker"]: one.value for one in families["decnet_worker_lag_events"].samples}
    assert lag == {"sensors": 0, "recorder": 0, "ttp": 0}
    counts = {
        one.labels["worker"]: one.value
        for one in families["decnet_worker_batch_duration_seconds"].samples
        if one.name.endswith("_count")
    }
    assert counts["ttp"] >= 1
    assert "process_resident_memory_bytes" in families
    assert HOSTILE.encode() not in body + plain[2]
    assert {family.name for family in plain_families(plain[2].decode())} >= {
        "decnet_tags",
        "decnet_build_info",
    }


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (get("/"), 404),
        (get("/metrics?x=1"), 200),
        (b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 405),
        (b"\x16\x03\x01 hello\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: ".ljust(MAX_HEAD - 4, b"a") + b"\r\n\r\n", 200),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: ".ljust(MAX_HEAD - 3, b"a") + b"\r\n\r\n", 431),
    ],
    ids=["head", "other path", "query", "post", "no http", "longest head", "longer head"],
)
async def test_every_request_has_an_answer(request_bytes: bytes, status: int) -> None:
    served = MetricsEndpoint(CollectorRegistry(), ("127.0.0.1", 0))
    await served.start()
    try:
        line, headers, body = await asked(served.port, request_bytes)
    finally:
        await served.stop()
    assert line.split()[1] == str(status).encode()
    assert (body == b"") == (b"HEAD" in request_bytes or status == 200)
    assert headers[b"connection"] == b"close"
    assert (headers.get(b"allow") == b"get, head") == (status == 405)


async def test_who_says_nothing_is_cut_and_who_comes_beyond_the_bound_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(endpoint, "TIMEOUT_S", 1.0)
    served = MetricsEndpoint(CollectorRegistry(), ("127.0.0.1", 0))
    await served.start()
    try:
        silent = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(MAX_CONNECTIONS)]
        await asyncio.sleep(0.1)
        with suppress(ConnectionError):  # it may be closed before the question was read
            assert await asked(served.port, get()) == (b"", {}, b""), "no room"
        for reader, writer in silent:
            assert await asyncio.wait_for(reader.read(), 10) == b""
            writer.close()
        assert (await asked(served.port, get()))[0].endswith(b"200 OK"), "room again"
    finally:
        await served.stop()


async def test_a_port_that_is_taken_is_said_and_the_engine_does_not_start(tmp_path: Path) -> None:
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as taken:
        port = taken.sockets[0].getsockname()[1]
        engine = Engine(
            Settings(
                data_dir=tmp_path, bus_type="memory", workers=("recorder",), metrics={"address": str(port)}
            )
        )
        with pytest.raises(EngineError, match=f"metrics: cannot listen on 127.0.0.1:{port}"):
            await engine.start()
    assert {task.get_name() for task in asyncio.all_tasks()} == {asyncio.current_task().get_name()}  # type: ignore[union-attr]


class Collected:
    """An OTLP collector's door: keeps what it is sent."""

    def __init__(self) -> None:
        self.requests: list[ExportMetricsServiceRequest] = []
        self.paths: list[str] = []

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = next(
            int(line.split(":")[1])
            for line in head.split("\r\n")
            if line.lower().startswith("content-length")
        )
        self.paths.append(head.split()[1])
        self.requests.append(ExportMetricsServiceRequest.FromString(await reader.readexactly(length)))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()


async def test_the_same_figures_go_out_over_otlp(tmp_path: Path) -> None:
    collected = Collected()
    async with await asyncio.start_server(collected.meet, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/metrics"
        telemetry = {"metrics": True, "metrics_endpoint": url, "metrics_interval_s": 600.0}
        async with worked_off(settings(tmp_path, telemetry=telemetry, metrics={})) as engine:
            assert engine.metrics is not None
            assert engine.metrics.endpoint is None
            tags = await engine.repo.list_tags(limit=0)
    assert collected.paths == ["/v1/metrics"], "what is the case at the end"
    (resource,) = collected.requests[0].resource_metrics
    assert resource.resource.attributes[0].key == "service.name" or resource.resource.attributes
    metrics = {one.name: one for one in resource.scope_metrics[0].metrics}
    fired = metrics["decnet_rule_fires_total"].sum
    assert fired.is_monotonic
    assert sum(point.as_double for point in fired.data_points) == len(tags) > 10
    times = metrics["decnet_worker_batch_duration_seconds"].histogram
    for point in times.data_points:
        assert sum(point.bucket_counts) == point.count
        assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
        assert not point.HasField("min")
    assert metrics["decnet_bus_connected"].gauge.data_points[0].as_double == 1
    assert HOSTILE.encode() not in collected.requests[0].SerializeToString()
