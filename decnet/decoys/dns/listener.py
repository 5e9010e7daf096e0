"""The DNS ports of canary tokens, UDP and TCP: answers each question by :mod:`decnet.decoys.dns.packet`, notes the names."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from decnet.decoys.canary.desk import Desk
from decnet.decoys.canary.hits import Hit, kept
from decnet.decoys.dns.packet import MAX_PACKET, judge
from decnet.decoys.listener import Place
from decnet.ids import normalize_ip
from decnet.runtime.doors import Doors, Pace
from decnet.runtime.streams import StreamPort

_PREFIX: Final = 2
"""Bytes of the length before a packet over TCP."""


class CanaryDns(asyncio.DatagramProtocol):
    """``desk`` takes the hits. Both ports have one number."""

    name = "canary_dns"

    def __init__(self, place: Place, desk: Desk) -> None:
        self._place, self._desk = place, desk
        self._own = own = place.settings.decoys.canary_dns
        self._zone = own.zone or ""
        self._pace = Pace(own.per_second_peer, own.max_peers)
        self.counts = Counter[str]()
        doors = Doors(own.max_connections, own.max_connections_peer)
        self._tcp = StreamPort("dns_tcp", doors, own.tcp_timeout_s, self._converse, self.counts)
        self._udp: asyncio.DatagramTransport | None = None
        self.port = 0
        """The number of the open ports."""

    async def start(self) -> None:
        """Opens both ports. Raises OSError."""
        self.port = await self._tcp.open(self._own.host, self._own.port)
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, local_addr=(self._own.host, self.port))

    async def stop(self) -> None:
        """Closes them."""
        if self._udp is not None:
            self._udp.close()
            self._udp = None
        await self._tcp.close()

    def health(self) -> Mapping[str, int]:
        """What came, and what was not answered."""
        return self.counts

    def connection_made(self, transport: Any) -> None:
        """The UDP port is open."""
        self._udp = transport

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        """A question over UDP."""
        reply = self.answered(data, normalize_ip(str(addr[0])))
        if reply is not None and self._udp is not None:
            self._udp.sendto(reply, addr)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: str) -> None:
        """Questions over TCP, one after the other, until the peer ends or sends what is none."""
        while prefix := await reader.read(1):
            prefix += await reader.readexactly(_PREFIX - len(prefix))
            length = int.from_bytes(prefix)
            if length > MAX_PACKET:
                self.counts["dns_broken"] += 1
                return
            reply = self.answered(await reader.readexactly(length), peer)
            if reply is None:
                return
            writer.write(len(reply).to_bytes(_PREFIX) + reply)
            await writer.drain()

    def answered(self, packet: bytes, peer: str) -> bytes | None:
        """The answer to a packet of a peer, if it gets one; a token that was asked for is noted."""
        at = self._place.clock()
        if not self._pace.may(peer, at):
            self.counts["dns_too_often"] += 1
            return None
        verdict = judge(packet, self._zone, self._own.answer)
        self.counts["dns_broken" if verdict.reply is None else "dns_questions"] += 1
        if verdict.kind == "refused":
            self.counts["dns_refused"] += 1
        if (asked := verdict.asked) is not None:
            label = None if asked.label is None else kept(asked.label)
            self._desk.note(Hit(asked.slug, at, peer, "dns", dns_qname=kept(asked.qname), label=label))
        return verdict.reply
