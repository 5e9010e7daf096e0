"""Fingerprints of what was sent through a host: they are of the client that used the tunnel, and the tag says so. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from decnet.bounds import bit
from decnet.events.session import Forward, SessionEnded
from decnet.ttp.base import TaggerEvent
from decnet.ttp.facts import FACTS_CAPPED

CLIENT = "forwarded"
"""What the evidence says of whose fingerprint it is."""
MAX_PRINTS = 100
"""Different fingerprints of one session's tunnels that are judged."""


def forwarded_events(base: TaggerEvent, session: SessionEnded) -> list[TaggerEvent]:
    """One event for each fingerprint of the session's tunnels, with the first place it was seen on the way to."""
    found: dict[str, TaggerEvent] = {}
    for item in session.forwards:
        for kind, value in _prints(item):
            payload = {
                "type": kind,
                kind: value,
                "client": CLIENT,
                "through": f"{item.host}:{item.port}",
                "ts": item.ts,
            }
            source = f"{session.session_id}#through#{kind}#{value}"
            found.setdefault(
                source, base._replace(source_kind="http_fingerprint", source_id=source, payload=payload)
            )
    bit(FACTS_CAPPED, len(found) - MAX_PRINTS)
    return list(found.values())[:MAX_PRINTS]


def _prints(item: Forward) -> Iterator[tuple[str, str]]:
    if item.ja4:
        yield "ja4", item.ja4
    if item.ja4h:
        yield "ja4h", item.ja4h
