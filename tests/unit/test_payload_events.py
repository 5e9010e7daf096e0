"""What came, left or was tried in a session as events of their own: what names each, and what each says."""

from __future__ import annotations

from typing import Any

import pytest

from decnet.bounds import BITES
from decnet.bus.base import Event
from decnet.events.session import SessionEnded
from decnet.ttp.base import TaggerEvent
from decnet.ttp.evidence import checked_evidence
from decnet.ttp.facts import FACTS_CAPPED
from decnet.ttp.forwarded import MAX_PRINTS, forwarded_events
from decnet.ttp.lifter_registry import find_kind
from decnet.ttp.lifters.network import SignatureKnobs
from decnet.ttp.payloads import MAX_KEY
from tests.wirekit import judged

SHA = "ab" * 32
BASE = {"session_id": "s", "attacker_ip": "203.0.113.1", "started_at": 1.0, "ended_at": 9.0}


def things(**lists: Any) -> dict[str, dict[str, Any]]:
    """Source id → payload."""
    events = judged(Event("attacker.session.ended", {**BASE, **lists}))
    return {event.source_id: event.payload for event in events if event.source_kind == "payload"}


def test_an_upload_is_named_by_its_hash_and_happened_at_its_own_time() -> None:
    found = things(uploads=[{"filename": "/tmp/sshd", "sha256": SHA, "ts": 5.5}])
    assert found == {
        f"s#upload#{SHA}": {"direction": "upload", "payload_text": "/tmp/sshd", "name": "sshd", "sha256": SHA, "ts": 5.5}
    }  # fmt: skip


def test_a_download_that_failed_says_so_and_of_one_address_the_one_that_came_counts() -> None:
    bad = {"url": "http://h.example/a.sh", "failed": True, "error": "404"}
    assert things(downloads=[bad])["s#download#http://h.example/a.sh"] == {
        "direction": "download", "payload_text": "http://h.example/a.sh", "url": "http://h.example/a.sh",
        "url_host": "h.example", "url_scheme": "http", "name": "a.sh", "failed": "yes", "error": "404",
    }  # fmt: skip
    (came,) = things(downloads=[bad, {"url": "http://h.example/a.sh"}]).values()
    assert "failed" not in came


def test_one_file_that_came_by_several_ways_keeps_all_its_places() -> None:
    """``curl … > authorized_keys`` is told twice: as what was fetched, and as what was written."""
    came = [
        {"url": "http://h.example/k", "sha256": SHA, "ts": 5.0},
        {"destfile": "/root/.ssh/authorized_keys", "sha256": SHA, "ts": 4.0},
    ]
    (one,) = things(downloads=[*came, came[0]]).values()
    assert one == {
        "direction": "download", "payload_text": ["http://h.example/k", "/root/.ssh/authorized_keys"], "ts": 4.0,
        "url": "http://h.example/k", "url_host": "h.example", "url_scheme": "http", "name": ["k", "authorized_keys"],
        "destfile": "/root/.ssh/authorized_keys", "sha256": SHA,
    }  # fmt: skip
    kept = checked_evidence("payload", one)
    assert (kept["name"], kept["destfile"]) == (["k", "authorized_keys"], "/root/.ssh/authorized_keys")


def test_a_tunnel_is_one_thing_for_each_target_with_what_was_spoken_and_none_of_what_was_said() -> None:
    forwards = [
        {"host": "H.example", "port": 25, "ts": 2.0},
        {"host": "h.example", "port": 25, "data": "b'MAIL FROM:<a@example.net>\\r\\n'", "ts": 3.0},
        {"host": "203.0.113.50", "port": 80, "ja4h": "ge11"},
        {"host": "203.0.113.50", "port": 443, "data": "b'\\x16\\x03\\x01'", "ja4": "t13"},
        {"host": "203.0.113.50", "port": 22, "data": "SSH-2.0-x"},
        {"host": "203.0.113.50", "port": 9, "data": "b'say EHLO GET '"},
        {"host": "", "port": 1},
    ]
    found = things(forwards=forwards)
    assert {source: payload.get("spoke") for source, payload in found.items()} == {
        "s#forward#h.example:25": ["smtp"],
        "s#forward#203.0.113.50:80": ["http"],
        "s#forward#203.0.113.50:443": ["tls"],
        "s#forward#203.0.113.50:22": ["ssh"],
        "s#forward#203.0.113.50:9": None,
    }
    assert found["s#forward#h.example:25"] == {
        "direction": "forward", "payload_text": "h.example:25", "host": "h.example", "port": 25, "ts": 2.0,
        "spoke": ["smtp"], "place": "outside",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("host", "place"),
    [
        ("10.0.0.9", "inside"), ("172.31.255.255", "inside"), ("172.32.0.0", "outside"), ("192.168.1.1", "inside"),
        ("127.0.0.1", "inside"), ("100.64.0.1", "inside"), ("203.0.113.50", "outside"), ("::ffff:10.0.0.9", "inside"),
        ("::ffff:203.0.113.50", "outside"), ("[fe80::1%eth0]", "inside"), ("2001:db8::1", "outside"),
        ("localhost", "inside"), ("printer", "inside"), ("db.internal", "inside"), ("www.example.com", "outside"),
    ],
)  # fmt: skip
def test_what_is_reached_from_inside_only_is_told_from_what_anybody_reaches(host: str, place: str) -> None:
    (target,) = things(forwards=[{"host": host, "port": 22}]).values()
    assert target["place"] == place


def test_an_exploit_is_one_thing_for_each_weakness_and_success_speaks_for_the_attempts() -> None:
    exploits = [
        {"cve": "CVE-2026-24061", "name": "USER", "value": "-f root", "ts": 2.0},
        {"cve": "CVE-2026-24061", "value": "-f root", "success": True, "ts": 3.0},
        {"name": "TERM", "value": "x"},
    ]
    assert things(exploits=exploits) == {
        "s#exploit#CVE-2026-24061": {
            "direction": "exploit", "payload_text": "-f root", "cve": "CVE-2026-24061", "success": "yes", "ts": 2.0,
            "name": "USER",
        },
        "s#exploit#TERM": {"direction": "exploit", "payload_text": "x", "name": "TERM"},
    }  # fmt: skip


def test_a_name_of_any_length_makes_an_id_of_bounded_length() -> None:
    at, over = "x" * MAX_KEY, "x" * (MAX_KEY + 1)
    first, second = things(uploads=[{"filename": at}, {"filename": over}])
    assert first == f"s#upload#{at}"
    assert len(second) == len("s#upload#") + 32
    assert next(iter(things(uploads=[{"filename": "\ud800"}]))).encode(), (
        "what no text may hold is no id either"
    )


def test_a_fingerprint_of_what_was_forwarded_is_the_forwarded_clients_and_its_tag_says_so() -> None:
    beacon = "t13d190900_9dc949149365_97f8aa674fd9"
    forwards = [
        {"host": "198.51.100.7", "port": 443, "ja4": beacon},
        {"host": "198.51.100.8", "port": 443, "ja4": beacon},
        {"host": "198.51.100.7", "port": 80, "ja4h": "ge11nn", "data": "b'GET /'"},
    ]
    session = SessionEnded.parse(
        {"session_id": "s1", "attacker_ip": "203.0.113.9", "ended_at": 1.0, "forwards": forwards}
    )
    base = TaggerEvent("session", "s1", session.attacker, None, "s1", None, {})
    first, second = forwarded_events(base, session)
    assert (first.source_kind, first.source_id) == ("http_fingerprint", f"s1#through#ja4#{beacon}")
    assert (second.payload["type"], second.payload["through"]) == ("ja4h", "198.51.100.7:80")
    kind = find_kind("lifter:http_fingerprint_ja4")
    assert kind is not None
    found = kind.predicate(first.payload, SignatureKnobs(signatures=[beacon]))
    assert found is not None
    told = checked_evidence("http_fingerprint", found.evidence)
    assert told == {"type": "ja4", "client": "forwarded", "through": "198.51.100.7:443"}
    many = [{"host": "h", "port": n, "ja4": f"t{n}"} for n in range(MAX_PRINTS + 1)]
    crowded = SessionEnded.parse(
        {"session_id": "s1", "attacker_ip": "203.0.113.9", "ended_at": 1.0, "forwards": many}
    )
    before = BITES[FACTS_CAPPED]
    assert len(forwarded_events(base, crowded)) == MAX_PRINTS
    assert BITES[FACTS_CAPPED] == before + 1
