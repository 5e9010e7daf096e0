"""Spans of a batch: whose child it is, how many links, what is carried on, and nothing at all without a provider."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http import trace_exporter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from decnet import telemetry
from decnet.config import TelemetrySettings
from decnet.errors import ConfigError
from decnet.telemetry import MAX_LINKS, batch_span


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    yield exporter
    provider.shutdown()


def header(number: int) -> dict[str, str]:
    return {"traceparent": f"00-{7:032x}-{number:016x}-01"}


def batch(exporter: InMemorySpanExporter, headers: list[dict[str, str]]) -> ReadableSpan:
    exporter.clear()
    with batch_span("batch", headers, events=len(headers)):
        assert telemetry.recording()
    return exporter.get_finished_spans()[0]


@pytest.mark.parametrize(("events", "links"), [(1, 0), (2, 1), (32, 31), (33, 32), (34, 32), (500, 32)])
def test_a_batch_is_the_child_of_its_first_event_and_linked_to_at_most_32_others(
    spans: InMemorySpanExporter, events: int, links: int
) -> None:
    span = batch(spans, [{}, *(header(n) for n in range(1, events + 1)), {}])
    assert MAX_LINKS == 32
    assert span.parent is not None
    assert span.parent.span_id == 1
    assert [link.context.span_id for link in span.links] == list(range(2, links + 2))
    assert span.attributes == {"events": events + 2}


def test_a_batch_without_a_context_has_no_parent(spans: InMemorySpanExporter) -> None:
    span = batch(spans, [{}, {"other": "x"}])
    assert (span.parent, list(span.links)) == (None, [])


def test_a_child_is_opened_only_below_a_span_that_records(spans: InMemorySpanExporter) -> None:
    with telemetry.child("alone"):
        assert telemetry.inject() == {}
    assert spans.get_finished_spans() == ()
    with telemetry.span("parent"), telemetry.child("child", rule_id="R1"):
        carried = telemetry.inject()
    child, parent = spans.get_finished_spans()
    assert child.parent is not None
    assert parent.context is not None
    assert (child.parent.span_id, dict(child.attributes or {})) == (parent.context.span_id, {"rule_id": "R1"})
    assert telemetry.context_of(carried) is not None
    assert telemetry.context_of({"traceparen": "x"}) is None


def test_export_goes_where_the_settings_say_and_ends_with_a_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    class Exporter(InMemorySpanExporter):
        def __init__(self, endpoint: str | None) -> None:
            super().__init__()
            given.append((endpoint, self))

    monkeypatch.setattr(trace_exporter, "OTLPSpanExporter", Exporter)
    monkeypatch.setattr(trace, "set_tracer_provider", given.append)
    end = telemetry.configure_tracing(TelemetrySettings(traces=True, endpoint="http://127.0.0.1:9/v1/traces"))
    (endpoint, exporter), provider = given
    assert endpoint == "http://127.0.0.1:9/v1/traces"
    provider.get_tracer("x").start_span("last").end()
    end()
    (span,) = exporter.get_finished_spans()
    assert (span.name, span.resource.attributes["service.name"]) == ("last", "decnet-tui")


def test_export_is_off_unless_asked_for_and_says_which_extra_it_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trace, "set_tracer_provider", lambda _: pytest.fail("nobody asked for it"))
    telemetry.configure_tracing(TelemetrySettings())()
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    telemetry.configure_tracing(TelemetrySettings(endpoint="http://127.0.0.1:9"))()
    with pytest.raises(ConfigError, match=r"decnet-tui\[otel\]"):
        telemetry.configure_tracing(TelemetrySettings(traces=True))
