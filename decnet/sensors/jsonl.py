"""The sensor for recorded bus events: its line parser and its source, under the name of its kind."""

from __future__ import annotations

from decnet.sensors.sources import JsonlSource, recorded_event

__all__ = ["JsonlSource", "recorded_event"]
