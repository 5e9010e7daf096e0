"""HTTP requests of a visit are told of one by one, each once: rules judge them as they judge commands; pure."""

from __future__ import annotations

import hashlib
import json

from decnet import ids
from decnet.bus import topics
from decnet.bus.base import Event
from decnet.sensors.assembly import Assembler
from decnet.sensors.cowrie import Fact
from decnet.sensors.session import Session
from decnet.sensors.values import Data

REQUEST = "request"
"""The kind of a fact that is one request: method, raw_url, user_agent and what else is known of it."""
MAX_REQUESTS = 200
"""Different HTTP requests told of one visit; the visit itself goes on, and further requests are counted."""
_ALWAYS = ("method", "raw_url", "user_agent")
_BESIDE = ("op_text", "note_text")
"""What tells requests apart beside their address, where a decoy says it."""


class RequestAssembler(Assembler):
    """Tells HTTP requests as well, each once in a visit."""

    def _news(self, session: Session, fact: Fact, said: Data) -> list[Event]:
        if fact.kind != REQUEST:
            return super()._news(session, fact, said)
        if session.requests >= MAX_REQUESTS:
            self.items_dropped += 1
            return []
        request = fact.data
        told = [request.get(key) for key in _ALWAYS] + [request[key] for key in _BESIDE if key in request]
        digest = hashlib.blake2b(json.dumps(told).encode(), digest_size=8).hexdigest()
        mark = f"{session.session_id}#http-{digest}"
        if not self._first_time(mark):
            return []
        session.requests += 1
        payload = {**self._head(session), "type": "http_request", "source_id": mark, **request}
        topic = topics.attacker(topics.ATTACKER_FINGERPRINTED)
        return [Event(topic, payload, "http_request", ids.event_id("sensors", mark), fact.ts)]
