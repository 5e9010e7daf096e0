"""Fingerprints that a log tells of an address, each told once, and again when that says something new; pure.

A sensor of packets sees the same client thousands of times. What is told is who was seen with what, from when, and
still an hour later: the ids come from the data, so that it is the same whatever was read before.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from decnet import ids
from decnet.bus import topics
from decnet.bus.base import Event
from decnet.events.attacker import Fingerprinted
from decnet.sensors.values import Data

KEPT = 10_000
"""Fingerprints that are remembered; one that was forgotten is told again."""
AGAIN_S = 3_600.0
"""Seconds after which one that is still seen is told again."""


class Prints:
    """What was told of whom."""

    def __init__(self) -> None:
        self._told: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Digest of who and what → the earliest and the latest time that was told."""

    def event(self, decky: str, ip: str, kind: str, said: Data, ts: float) -> Event | None:
        """The news in one sight of a fingerprint; None when it says nothing new. ``said`` has its value as ``value``."""
        uuid = ids.attacker_id(ip)
        fields = {name: value for name, value in said.items() if name != "value"}
        told: Data = {"type": kind, kind: said["value"], **fields}
        mark = f"{decky}|{uuid}|{kind}|{json.dumps(told, sort_keys=True)}"
        if not self._is_news(mark, ts):
            return None
        who: Data = {"attacker_uuid": uuid, "attacker_ip": ids.normalize_ip(ip), "decky_id": decky}
        payload = Fingerprinted.parse({**who, **told}).build()
        topic = topics.attacker(topics.ATTACKER_FINGERPRINTED)
        return Event(topic, payload, type=kind, id=ids.event_id("sensors", mark, f"{ts:.6f}"), ts=ts)

    def _is_news(self, mark: str, ts: float) -> bool:
        key = hashlib.blake2b(mark.encode("utf-8", "replace"), digest_size=8).hexdigest()
        first, last = self._told.pop(key, (float("inf"), float("-inf")))
        news = ts < first or ts >= last + AGAIN_S
        self._told[key] = (min(first, ts), max(last, ts)) if news else (first, last)
        if len(self._told) > KEPT:
            self._told.popitem(last=False)
        return news

    def to_state(self) -> Data:
        """Plain JSON for a checkpoint."""
        return {key: list(times) for key, times in self._told.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes up the state of :meth:`to_state`."""
        self._told = OrderedDict(
            (str(key), (float(first), float(last))) for key, (first, last) in state.items()
        )
