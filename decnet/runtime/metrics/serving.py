"""What gives an engine's metrics away: the port for Prometheus, the rounds over OTLP, or both."""

from __future__ import annotations

from prometheus_client import PlatformCollector, ProcessCollector
from prometheus_client.registry import CollectorRegistry

from decnet.config import Settings, listening_at
from decnet.runtime.metrics.endpoint import MetricsEndpoint
from decnet.runtime.metrics.families import EngineCollector, Source
from decnet.runtime.metrics.otlp import OtlpMetrics


class ServedMetrics:
    """Both, as far as the settings ask for them."""

    def __init__(self, endpoint: MetricsEndpoint | None, otlp: OtlpMetrics | None) -> None:
        self.endpoint, self.otlp = endpoint, otlp

    async def run(self) -> None:
        """For ever, where metrics are sent; returns at once where they are only scraped."""
        if self.otlp is not None:
            await self.otlp.run()

    async def stop(self) -> None:
        """Ends both; what is the case now is still sent."""
        if self.endpoint is not None:
            await self.endpoint.stop()
        if self.otlp is not None:
            await self.otlp.stop()


async def serve_metrics(source: Source, settings: Settings) -> ServedMetrics:
    """Opens the port. Raises EngineError for one that cannot be had, ConfigError without the extra for OTLP."""
    collector = EngineCollector(source)
    otlp = OtlpMetrics(collector, settings.telemetry) if settings.telemetry.metrics else None
    endpoint = None
    if settings.metrics.address is not None:
        registry = CollectorRegistry()
        registry.register(collector)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        endpoint = MetricsEndpoint(registry, listening_at(settings.metrics.address))
        await endpoint.start()
    return ServedMetrics(endpoint, otlp)
