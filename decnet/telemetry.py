"""Tracing: spans over OpenTelemetry's API, which does nothing until a provider is set.

A batch opens the root span; below it a span is opened only when the one around it records, so that
tracing that is off costs a look at a context variable. Attributes name kinds, counts, rules and
techniques, never what an attacker wrote. Context travels in the headers of the event envelope.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from opentelemetry import propagate, trace
from opentelemetry.context import Context

from decnet.config import TelemetrySettings
from decnet.errors import ConfigError

MAX_LINKS = 32
"""Events of one batch that its span points back to."""
_TRACE_PARENT = "traceparent"
_NOTHING: AbstractContextManager[None] = nullcontext()


def get_tracer(name: str = "decnet") -> trace.Tracer:
    """The tracer ``name``; looked up at call time, so that a test can replace the provider."""
    return trace.get_tracer(name)


def recording() -> bool:
    """Whether a span is open that somebody keeps."""
    return trace.get_current_span().is_recording()


@contextmanager
def batch_span(name: str, headers: Iterable[Mapping[str, str]], **attributes: Any) -> Iterator[None]:
    """The root span of a batch: child of the first event that brings a context, linked to the others."""
    parents: list[Context | None] = []
    for some in headers:
        if _TRACE_PARENT in some and len(parents) <= MAX_LINKS:
            parents.append(context_of(some))
    links = [trace.Link(trace.get_current_span(c).get_span_context()) for c in parents[1:] if c is not None]
    parent = parents[0] if parents else None
    with get_tracer().start_as_current_span(name, parent, attributes=attributes, links=links):
        yield


@contextmanager
def span(name: str, **attributes: Any) -> Iterator[None]:
    """A span of its own, or a child of the one that is open."""
    with get_tracer().start_as_current_span(name, attributes=attributes):
        yield


def child(name: str, **attributes: Any) -> AbstractContextManager[None]:
    """A span below one that records; nothing otherwise."""
    return span(name, **attributes) if recording() else _NOTHING


def inject() -> dict[str, str]:
    """The headers that carry the open span to whoever reads the event; empty when nothing records."""
    headers: dict[str, str] = {}
    if recording():
        propagate.inject(headers)
    return headers


def context_of(headers: Mapping[str, str]) -> Context | None:
    """The context that an event brought; None without one."""
    return propagate.extract(dict(headers)) if _TRACE_PARENT in headers else None


def configure_tracing(settings: TelemetrySettings) -> Callable[[], None]:
    """Exports spans over OTLP when the settings turn it on; returns what flushes and ends it.

    Raises ConfigError without the extra ``otel``.
    """
    if not settings.traces:
        return lambda: None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise ConfigError("tracing needs the extra otel: pip install 'decnet-tui[otel]'") from error
    provider = TracerProvider(resource=Resource.create({"service.name": "decnet-tui"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=settings.endpoint)))
    trace.set_tracer_provider(provider)
    return provider.shutdown
