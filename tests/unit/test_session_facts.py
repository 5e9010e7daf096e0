"""Flat facts and payload events of a session, of any shape."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from decnet.bus.base import Event
from decnet.ttp.facts import name_of
from tests.wirekit import judged

SHA = "A" * 64
PAYLOAD = {
    "session_id": "s1",
    "attacker_ip": "203.0.113.1",
    "ended_at": 5.0,
    "downloads": [
        {"url": "http://203.0.113.9:8080/bins/x.sh?a=/b", "sha256": SHA},
        {"url": "", "sha256": None},
    ],
    "uploads": [{"filename": "/tmp/.k/mrx64", "sha256": None}],
    "forwards": [{"host": "192.0.2.7", "port": 25}, {"host": "192.0.2.7", "port": 443}],
}


def test_flat_facts() -> None:
    facts = judged(Event("attacker.session.ended", PAYLOAD))[0].payload
    assert facts["download_hosts"] == ["203.0.113.9"]
    assert facts["download_names"] == ["x.sh"]
    assert facts["upload_names"] == ["mrx64"]
    assert facts["forward_targets"] == ["192.0.2.7:25", "192.0.2.7:443"]
    assert facts["forward_ports"] == [25, 443]
    assert (facts["download_count"], facts["forward_count"]) == (2, 2)


def test_files_are_events_of_their_own() -> None:
    events = [e for e in judged(Event("attacker.session.ended", PAYLOAD)) if e.source_kind == "payload"]
    first, second, *through = events
    assert first.source_id == f"s1#download#{SHA.lower()}"
    assert first.payload == {
        "direction": "download",
        "payload_text": "http://203.0.113.9:8080/bins/x.sh?a=/b",
        "url": "http://203.0.113.9:8080/bins/x.sh?a=/b",
        "url_host": "203.0.113.9",
        "url_scheme": "http",
        "name": "x.sh",
        "sha256": SHA.lower(),
    }
    assert (second.payload["direction"], second.payload["name"]) == ("upload", "mrx64")
    assert second.session_id == "s1"
    assert [event.source_id for event in through] == ["s1#forward#192.0.2.7:25", "s1#forward#192.0.2.7:443"]


def test_names() -> None:
    assert [name_of(p) for p in ("http://h/", "http://h", "a\\b\\c.exe", "", "x#y", "/")] == [
        "",
        "",
        "c.exe",
        "",
        "x",
        "",
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
ITEMS = st.lists(
    JSON | st.dictionaries(st.sampled_from(("url", "sha256", "filename", "host", "port")), JSON, max_size=4),
    max_size=4,
)


@given(st.dictionaries(st.sampled_from(("downloads", "uploads", "forwards")), ITEMS | JSON))
def test_any_shape_is_taken(lists: dict[str, Any]) -> None:
    judged(
        Event(
            "attacker.session.ended",
            {"session_id": "s", "attacker_ip": "203.0.113.1", "ended_at": 5.0, **lists},
        )
    )
