"""Canary tokens over DNS: one packet in, one answer out; hostile packets by the thousand."""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest
from dnslib import EDNS0, QTYPE, RCODE, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from decnet.decoys.dns.packet import FACTOR, MAX_PACKET, Asked, judge
from tests.producerkit import case

A4 = case("A4")
ZONE = A4["input"]["zone"]
SLUG = A4["input"]["tokens"][0]["slug"]
PACKETS = [bytes.fromhex(packet["hex"]) for packet in A4["input"]["packets"]]


def verdict(packet: bytes) -> Any:
    return judge(packet, ZONE, "192.0.2.7")


def test_the_answers_of_the_case() -> None:
    kinds = [verdict(packet).kind for packet in PACKETS]
    assert kinds == ["answered", "empty", "answered", "refused", "broken", "broken", "answered"]
    first, second, _, other, *_ = [verdict(packet).reply for packet in PACKETS]
    answer = DNSRecord.parse(first)
    assert [(rr.rtype, str(rr.rdata), rr.rname.label) for rr in answer.rr] == [
        (QTYPE.A, "192.0.2.7", DNSRecord.parse(PACKETS[0]).q.qname.label)
    ]
    assert first[12 : 12 + 39] == PACKETS[0][12 : 12 + 39], "the case of the question is kept"
    assert (answer.header.aa, answer.header.ra, answer.header.rcode, answer.header.id) == (1, 0, 0, 0x1234)
    empty = DNSRecord.parse(second)
    assert (empty.header.rcode, empty.rr) == (RCODE.NOERROR, [])
    assert DNSRecord.parse(other).header.rcode == RCODE.REFUSED
    assert [verdict(packet).reply for packet in PACKETS[4:6]] == [None, None]


def test_the_names_of_the_case() -> None:
    name = f"{SLUG}.{ZONE}"
    asked = [verdict(packet).asked for packet in PACKETS]
    assert asked == [
        Asked(SLUG, name, None),
        Asked(SLUG, name, None),
        Asked(SLUG, f"dbhost7.{name}", "dbhost7"),
        None,
        None,
        None,
        Asked(SLUG, name, None),
    ]


def question(name: str, qtype: str = "A", **header: int) -> bytes:
    record = DNSRecord.question(name, qtype)
    for key, value in header.items():
        setattr(record.header, key, value)
    return bytes(record.pack())


def test_a_known_and_an_unknown_name_of_the_zone_get_the_same_answer_but_for_the_name() -> None:
    known, unknown = SLUG, SLUG[:-1] + "c"
    answers = [verdict(question(f"{name}.{ZONE}", id=7)).reply for name in (known, unknown, "x" * 26)]
    assert (
        len({a.replace(n.encode(), b"") for a, n in zip(answers, (known, unknown, "x" * 26), strict=True)})
        == 1
    )


@pytest.mark.parametrize("qtype", ["AAAA", "TXT", "MX", "NS", "SOA", "ANY", "CNAME", "HTTPS"])
def test_other_types_have_nothing(qtype: str) -> None:
    for name in (ZONE, f"{SLUG}.{ZONE}"):
        found = verdict(question(name, qtype))
        assert (found.kind, DNSRecord.parse(found.reply).rr) == ("empty", [])


@pytest.mark.parametrize("name", ["example", "xc.example", "c.example.org", ".", "version.bind"])
def test_other_zones_are_refused(name: str) -> None:
    found = verdict(question(name))
    assert (found.kind, found.asked) == ("refused", None)
    assert DNSRecord.parse(found.reply).header.aa == 0


def test_another_class_is_refused() -> None:
    packet = bytearray(question(f"{SLUG}.{ZONE}"))
    packet[-1] = 3  # CHAOS
    assert (verdict(bytes(packet)).kind, verdict(bytes(packet)).asked) == ("refused", None)


@pytest.mark.parametrize("header", [{"qr": 1}, {"opcode": 1}, {"opcode": 4}, {"opcode": 5}])
def test_what_is_no_standard_question_gets_no_answer(header: dict[str, int]) -> None:
    assert verdict(question(f"{SLUG}.{ZONE}", **header)).reply is None


@pytest.mark.parametrize(
    "counts", [(0, 0, 0, 0), (2, 0, 0, 0), (1, 1, 0, 0), (1, 0, 1, 0), (1, 0, 0, 2), (255, 0, 0, 0), (1, 0, 0, 65535)]
)  # fmt: skip
def test_other_counts_than_one_question_get_no_answer(counts: tuple[int, ...]) -> None:
    packet = question(f"{SLUG}.{ZONE}")
    assert verdict(packet[:4] + struct.pack("!4H", *counts) + packet[12:]).reply is None


def test_a_client_with_edns_is_answered() -> None:
    record = DNSRecord.question(f"{SLUG}.{ZONE}")
    record.add_ar(EDNS0(udp_len=1232))
    assert verdict(bytes(record.pack())).kind == "answered"


def test_bytes_behind_the_question_that_no_count_tells_of_get_no_answer() -> None:
    assert verdict(question(f"{SLUG}.{ZONE}") + b"x").reply is None


def test_a_packet_at_its_longest_is_looked_at_and_a_longer_one_is_not() -> None:
    record = DNSRecord.question(f"{SLUG}.{ZONE}")
    record.add_ar(EDNS0(udp_len=1232))
    packet = bytes(record.pack())
    assert verdict(packet.ljust(MAX_PACKET, b"\0")).kind == "answered"
    assert verdict(packet.ljust(MAX_PACKET + 1, b"\0")).reply is None


def raw(*labels: bytes) -> bytes:
    name = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return struct.pack("!6H", 1, 0, 1, 0, 0, 0) + name + struct.pack("!2H", 1, 1)


def test_labels_and_names_at_their_longest() -> None:
    zone = (b"c", b"example")
    assert verdict(raw(b"a" * 63, *zone)).kind == "answered"
    assert verdict(raw(b"a" * 64, *zone)).reply is None
    # 255 bytes on the wire are 253 characters of a name.
    assert verdict(raw(*[b"a" * 63] * 3, b"a" * 51, *zone)).kind == "answered"
    assert verdict(raw(*[b"a" * 63] * 3, b"a" * 52, *zone)).reply is None


@pytest.mark.parametrize("length", [0x40, 0x80, 0xC0, 0xFF])
def test_a_pointer_in_a_question_is_not_followed(length: int) -> None:
    packet = struct.pack("!6H", 1, 0, 1, 0, 0, 0) + bytes([length, 12]) + b"\0" * 300
    assert verdict(packet).reply is None


def test_a_label_that_is_no_text_gets_no_answer() -> None:
    assert verdict(raw(b"\xff\xfe", b"c", b"example")).reply is None


def test_a_thousand_mutations_of_every_packet_never_raise_and_never_make_more_of_a_packet() -> None:
    chance = random.Random(7)
    for _ in range(1000):
        for packet in PACKETS:
            hostile = bytearray(packet)
            for _ in range(chance.randrange(1, 8)):
                match chance.randrange(4):
                    case 0 if hostile:
                        hostile[chance.randrange(len(hostile))] = chance.randrange(256)
                    case 1:
                        del hostile[chance.randrange(len(hostile) + 1) :]
                    case 2:
                        place = chance.randrange(len(hostile) + 1)
                        hostile[place:place] = chance.randbytes(chance.randrange(40))
                    case _:
                        hostile += hostile[: chance.randrange(len(hostile) + 1)]
            found = verdict(bytes(hostile))
            assert found.reply is None or len(found.reply) <= FACTOR * len(hostile)
            assert found.reply is None or DNSRecord.parse(found.reply).header.qr == 1


@given(st.binary(max_size=600))
def test_any_bytes_never_raise(packet: bytes) -> None:
    found = verdict(packet)
    assert found.reply is None or len(found.reply) <= FACTOR * len(packet)
