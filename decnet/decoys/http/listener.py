"""The HTTP port of canary tokens: reads one request of each connection, answers it, and notes whom it was about."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Final

from decnet.decoys.canary.browser import read_report
from decnet.decoys.canary.desk import Desk
from decnet.decoys.canary.hits import MAX_TEXT, Hit, kept
from decnet.decoys.http.answers import answer_to, wanted_of
from decnet.decoys.http.nonces import is_good, nonce_of
from decnet.decoys.http.request import Reading, Request, packed, peer_of
from decnet.decoys.listener import Place
from decnet.runtime.doors import Doors
from decnet.runtime.streams import READ_BYTES, StreamPort

_TROUBLES: Final = {
    "tls": "http_tls_hellos",
    "malformed": "http_malformed",
    "head_too_long": "http_heads_too_long",
    "body_too_long": "http_bodies_too_long",
}


class CanaryHttp:
    """``desk`` takes the hits."""

    name = "canary_http"

    def __init__(self, place: Place, desk: Desk) -> None:
        self._place, self._desk = place, desk
        self._own = own = place.settings.decoys.canary_http
        self._proxies = [ip_network(text, strict=False) for text in own.trusted_proxies]
        self.counts = Counter[str]()
        doors = Doors(own.max_connections, own.max_connections_peer)
        self._port = StreamPort("http", doors, own.request_timeout_s, self._converse, self.counts)
        self.port = 0
        """The number of the open port."""

    async def start(self) -> None:
        """Opens the port. Raises OSError."""
        self.port = await self._port.open(self._own.host, self._own.port)

    async def stop(self) -> None:
        """Closes it."""
        await self._port.close()

    def health(self) -> Mapping[str, int]:
        """What came, and what was not answered."""
        return self.counts

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: str) -> None:
        reading = Reading(self._own.max_head_bytes, self._own.max_body_bytes)
        request = None
        while request is None and reading.trouble is None:
            request = reading.feed(await reader.read(READ_BYTES))
        if request is None:
            self.counts[_TROUBLES[str(reading.trouble)]] += 1
            return
        self.counts["http_requests"] += 1
        writer.write(self._answered(request, peer_of(peer, request.forwarded, self._proxies)))
        await writer.drain()

    def _answered(self, request: Request, peer: str) -> bytes:
        """The answer's bytes; what was asked for is noted, known or not."""
        at = self._place.clock()
        wanted = wanted_of(request.method, request.target.decode("latin-1"))
        if wanted.slug is not None and wanted.shape != "report":
            self._desk.note(self._hit(wanted.slug, request, peer, at))
        elif wanted.slug is not None:
            self._take_report(wanted.slug, wanted.nonce, request, peer, at)
        nonce = nonce_of(self._place.key, peer, at) if wanted.shape == "script" else ""
        answer = answer_to(wanted, nonce)
        return packed(answer, at, with_body=request.method != "HEAD")

    def _take_report(self, slug: str, nonce: str, request: Request, peer: str, at: float) -> None:
        report = read_report(request.body)
        if report is None or not is_good(self._place.key, peer, at, nonce):
            self.counts["http_reports_refused"] += 1
            return
        self._desk.note(self._hit(slug, request, peer, at, report))

    def _hit(
        self, slug: str, request: Request, peer: str, at: float, report: Mapping[str, object] | None = None
    ) -> Hit:
        self.counts["http_texts_cut"] += max(len(request.user_agent), len(request.target)) > MAX_TEXT
        agent, target = kept(request.user_agent), kept(request.target)
        return Hit(slug, at, peer, "http", user_agent=agent, request_path=target, report=report)
