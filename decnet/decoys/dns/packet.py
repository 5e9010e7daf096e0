"""One DNS packet in, one answer out, and the token's name that was asked for. Pure.

Authoritative for one zone, in which every name has one address; other types have nothing (NOERROR, empty), other
zones are REFUSED, and what is no plain question gets no answer at all. The case of the question is kept (0x20), and
no answer is longer than :data:`FACTOR` times its question, so that nobody is hit by reflected packets.
"""

from __future__ import annotations

import struct
from typing import Final, Literal, NamedTuple

from dnslib import CLASS, QTYPE, RCODE, RR, A, DNSError, DNSRecord

from decnet.decoys.canary.slugs import slug_in

MAX_PACKET: Final = 512
"""Longest question that is looked at, in bytes."""
FACTOR: Final = 3
TTL_S: Final = 60
_HEADER: Final = struct.Struct("!6H")
_TAIL: Final = 4
"""Bytes of type and class behind the name."""
_LONGEST_NAME, _LONGEST_LABEL = 255, 63
_QUERY_BITS: Final = 0xF800
"""Response bit and operation: all 0 in a standard question."""
Kind = Literal["answered", "empty", "refused", "broken"]


class Asked(NamedTuple):
    """A token's name: its slug, the whole name in lower case, and what stood before the slug."""

    slug: str
    qname: str
    label: str | None


class Verdict(NamedTuple):
    """What goes back (None: nothing), and whether a token was asked for."""

    kind: Kind
    reply: bytes | None = None
    asked: Asked | None = None


_BROKEN: Final = Verdict("broken")


def judge(packet: bytes, zone: str, address: str) -> Verdict:
    """``zone`` in lower case without a dot at its end; ``address`` is the IPv4 address of its names. Never raises."""
    question = _question(packet)
    if question is None:
        return _BROKEN
    try:
        record = DNSRecord.parse(question)
    except DNSError:
        return _BROKEN
    labels = [bytes(label).decode("utf-8").lower() for label in record.q.qname.label]
    reply = record.reply(ra=0, aa=1)
    inside = _inside(labels, zone)
    kind: Kind = "empty"
    if inside is None or record.q.qclass != CLASS.IN:
        reply.header.aa, reply.header.rcode, kind, inside = 0, RCODE.REFUSED, "refused", None
    elif record.q.qtype == QTYPE.A:
        reply.add_answer(RR(record.q.qname, QTYPE.A, rdata=A(address), ttl=TTL_S))
        kind = "answered"
    try:
        packed = bytes(reply.pack())
    except DNSError:
        return _BROKEN
    if len(packed) > FACTOR * len(packet):
        return _BROKEN
    return Verdict(kind, packed, _asked(inside, zone) if inside else None)


def _question(packet: bytes) -> bytes | None:
    """Header and question alone, where there is one plain question; records that a client adds (EDNS) are left out.

    A name in a question has no pointers: whoever writes some wants a parser to follow them.
    """
    if not _HEADER.size < len(packet) <= MAX_PACKET:
        return None
    ident, bits, questions, answers, authorities, additional = _HEADER.unpack_from(packet)
    if bits & _QUERY_BITS or questions != 1 or answers or authorities or additional > 1:
        return None
    place = _HEADER.size
    while place < len(packet) and 0 < packet[place] <= _LONGEST_LABEL:
        place += packet[place] + 1
    end = place + 1 + _TAIL
    if end > len(packet) or packet[place] or place + 1 - _HEADER.size > _LONGEST_NAME:
        return None
    if end < len(packet) and not additional:
        return None
    return _HEADER.pack(ident, bits, 1, 0, 0, 0) + packet[_HEADER.size : end]


def _inside(labels: list[str], zone: str) -> list[str] | None:
    """The labels before the zone's; None outside of it."""
    own = zone.split(".")
    return labels[: -len(own)] if labels[-len(own) :] == own else None


def _asked(inside: list[str], zone: str) -> Asked | None:
    slug = slug_in(inside[-1])
    if slug is None:
        return None
    return Asked(slug, ".".join([*inside, zone]), ".".join(inside[:-1]) or None)
