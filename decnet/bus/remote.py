"""The words of remote sensors: what they may say, under which subject, and how a recording travels. Pure.

A remote sensor reaches the bus with a user of its own, which may publish below ``sensor.<name>.`` and nowhere else.
The stream keeps that; the centre takes it, checks it and hands it on under its own topic. Even a recording goes
that way, in pieces: to write into the object store would take rights on it, and whoever has those can empty it.
"""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterator

from decnet.bus import topics
from decnet.bus.base import Event, matches
from decnet.bus.wire import MAX_BLOB_BYTES
from decnet.ids import event_id

MAY_SAY = (
    "attacker.observed",
    "attacker.session.started",
    "attacker.session.progress",
    "attacker.session.ended",
    "attacker.fingerprinted",
    "attacker.intel.enriched",
    "credential.captured",
)
"""What sensors find out; the centre hands nothing else on."""
OF_A_DECKY = (*MAY_SAY[:2], "attacker.session.ended", "credential.captured")
"""Topics whose events name a decky, always."""
HEALTH = topics.system_health("sensors")
_BLOB = "blob"
_OVERHEAD = 1024
"""Bytes of a piece's envelope, generously."""
MAX_PACKED = MAX_BLOB_BYTES + 2**16
"""Bytes of all pieces of one recording: what cannot be compressed grows a little."""
_WORKER = re.compile(r"sensor-[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
_BLOB_TOPIC = re.compile(r"blob\.[0-9a-f]{64}\.\d{1,6}")


def prefix(sensor: str) -> str:
    """``sensor.<name>.``."""
    return f"{topics.SENSOR}.{sensor}."


def split(topic: str) -> tuple[str, str]:
    """(name of the sensor, topic as it says it) of a topic below ``sensor.``."""
    _, _, rest = topic.partition(".")
    sensor, _, said = rest.partition(".")
    return sensor, said


def may_say(topic: str) -> bool:
    """Whether the centre takes such news from a sensor."""
    return topic in MAY_SAY or topic == HEALTH or is_piece(topic)


def is_piece(topic: str) -> bool:
    """Whether it is the topic of a piece of a recording."""
    return _BLOB_TOPIC.fullmatch(topic) is not None


def worker_name(sensor: str) -> str:
    """The name under which the centre tells of a remote sensor's health, and under which that listens to control."""
    return f"sensor-{sensor}"


def is_remote(worker: str) -> bool:
    """Whether it is the name of a remote sensor in health and control."""
    return _WORKER.fullmatch(worker) is not None


def inbox_prefix(sensor: str) -> str:
    """Where the server answers a remote sensor, which may read nothing else."""
    return f"_INBOX_{sensor}"


def control_topic(sensor: str) -> str:
    """What a remote sensor listens to."""
    return topics.system_control(worker_name(sensor))


def takes_control(pattern: str) -> bool:
    """Whether who subscribes to this wants to hear what the sensors worker is told to do."""
    return matches(pattern, topics.system_control("sensors"))


def pieces(key: str, data: bytes, max_event_bytes: int) -> Iterator[Event]:
    """A recording as events, in order: compressed, each small enough for the bus."""
    packed = zlib.compress(data, 6)
    size = (max_event_bytes - _OVERHEAD) // 4 * 3
    for number, start in enumerate(range(0, len(packed), size)):
        part = base64.b64encode(packed[start : start + size]).decode("ascii")
        payload = {"data": part, "more": start + size < len(packed)}
        yield Event(piece_topic(key, number), payload, "blob", event_id("sensors", f"{key}|{number}"))


def piece_topic(key: str, number: int) -> str:
    """``blob.<sha256>.<number>``, below the sensor's prefix."""
    return f"{_BLOB}.{key}.{number}"


def piece_of(event: Event) -> tuple[bytes, bool] | None:
    """The bytes of a piece and whether more follow; None for an event that is none."""
    data, more = event.payload.get("data"), event.payload.get("more")
    if not isinstance(data, str) or not isinstance(more, bool):
        return None
    try:
        return base64.b64decode(data, validate=True), more
    except ValueError:
        return None
