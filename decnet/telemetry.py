"""Tracing: OpenTelemetry's API, which does nothing until an SDK is configured by the host."""

from __future__ import annotations

from opentelemetry import trace


def get_tracer(name: str = "decnet") -> trace.Tracer:
    """The tracer ``name``; looked up at call time, so that a test can replace the provider."""
    return trace.get_tracer(name)
