"""The same figures sent to an OpenTelemetry collector over OTLP/HTTP, every so often. Needs the extra ``otel``.

The families of :mod:`decnet.runtime.metrics.families` become data points on the engine's loop; only the sending is in a
thread. Names are those that Prometheus shows.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby, pairwise
from typing import Any

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from decnet.config import TelemetrySettings
from decnet.errors import ConfigError
from decnet.logs import get_logger

log = get_logger(__name__)
_UNKNOWN: Any = None
"""The shortest and the longest batch: only classes of duration are kept. OTLP lets both be absent."""


class OtlpMetrics:
    """A service of the engine; ``clock`` gives epoch seconds. Raises ConfigError without the extra."""

    def __init__(
        self, collector: Collector, settings: TelemetrySettings, clock: Callable[[], float] = time.time
    ) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        except ImportError as error:
            raise ConfigError(
                "metrics over OTLP need the extra otel: pip install 'decnet-tui[otel]'"
            ) from error
        self._exporter = OTLPMetricExporter(endpoint=settings.metrics_endpoint)
        self._collector, self._interval_s, self._clock = collector, settings.metrics_interval_s, clock
        self._began = clock()
        self.failed = 0
        """Rounds that could not be sent; what they had to say is in the next one: counters only grow."""

    async def run(self) -> None:
        """For ever: one round each interval."""
        while True:
            await asyncio.sleep(self._interval_s)
            await self.send()

    async def send(self) -> None:
        """One round now; a collector that is away is counted and said."""
        from opentelemetry.sdk.metrics.export import MetricExportResult

        data = metrics_data(self._collector, self._began, self._clock())
        if await asyncio.to_thread(self._exporter.export, data) is not MetricExportResult.SUCCESS:
            self.failed += 1
            log.warning("metrics not sent over OTLP", failed=self.failed)

    async def stop(self) -> None:
        """Sends what is the case at the end, then ends."""
        await self.send()
        await asyncio.to_thread(self._exporter.shutdown)


def metrics_data(collector: Collector, began: float, now: float) -> Any:
    """All families as OTLP's data model (``MetricsData``); times are epoch seconds."""
    from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    span = int(began * 1e9), int(now * 1e9)
    metrics = [made for family in collector.collect() if (made := _metric(family, span)) is not None]
    scope = ScopeMetrics(InstrumentationScope("decnet"), metrics, "")
    resource = Resource.create({"service.name": "decnet-tui"})
    return MetricsData([ResourceMetrics(resource, [scope], "")])


def _metric(family: Metric, span: tuple[int, int]) -> Any:
    from opentelemetry.sdk.metrics import export as sdk

    data: Any
    if not family.samples:
        return None
    if family.type == "histogram":
        data = sdk.Histogram(list(_histograms(family.samples, span)), sdk.AggregationTemporality.CUMULATIVE)
        return sdk.Metric(family.name, family.documentation, family.unit, data)
    points = [
        sdk.NumberDataPoint(
            attributes=dict(one.labels),
            start_time_unix_nano=span[0],
            time_unix_nano=span[1],
            value=float(one.value),
        )
        for one in family.samples
    ]
    if family.type == "counter":
        data = sdk.Sum(points, sdk.AggregationTemporality.CUMULATIVE, is_monotonic=True)
    else:
        data = sdk.Gauge(points)
    return sdk.Metric(family.samples[0].name, family.documentation, family.unit, data)


def _histograms(samples: list[Sample], span: tuple[int, int]) -> Iterator[Any]:
    """One data point for each set of labels; Prometheus counts up to a bound, OTLP between two."""
    from opentelemetry.sdk.metrics.export import HistogramDataPoint

    def owner(one: Sample) -> tuple[tuple[str, str], ...]:
        return tuple(sorted((name, value) for name, value in one.labels.items() if name != "le"))

    for labels, group in groupby(samples, owner):
        found = list(group)
        buckets = [one for one in found if one.name.endswith("_bucket")]
        total = next(one.value for one in found if one.name.endswith("_sum"))
        counts = [int(one.value) for one in buckets]
        attributes: Mapping[str, str] = dict(labels)
        yield HistogramDataPoint(
            attributes=attributes,
            start_time_unix_nano=span[0],
            time_unix_nano=span[1],
            count=counts[-1],
            sum=float(total),
            bucket_counts=[counts[0], *(after - before for before, after in pairwise(counts))],
            explicit_bounds=[float(one.labels["le"]) for one in buckets[:-1]],
            min=_UNKNOWN,
            max=_UNKNOWN,
        )
