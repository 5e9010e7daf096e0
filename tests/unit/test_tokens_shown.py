"""Canary tokens in the fleet: in which order, in which state, by whom set off; and nothing of what makes them secret."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from decnet.bus.base import Event
from decnet_tui.model.export import plain_value
from decnet_tui.model.feed import Feed
from decnet_tui.model.tokens import LAST_READS, LAST_TRIPS, TokenLine, token_lines
from decnet_tui.screens.base import Place
from decnet_tui.screens.fleet import FleetView, Read
from decnet_tui.widgets import glyphs
from tests.consolekit import use_usual_keys

AT = datetime(2026, 3, 1, tzinfo=UTC)
SLUG = "s3cr3tslug"


def token(name: str, **more: Any) -> Any:
    row = {"token_id": name, "slug": SLUG, "kind": "aws", "decky_id": "web-01", "path": "/root/.aws/credentials", "memo": None,
           "watched": f"AKIA{SLUG}", "minted_at": AT, "placed_at": AT, "revoked_at": None, "first_trip_at": None, "last_trip_at": None,
           "trips": 0, "window_at": None, "window_trips": 0}  # fmt: skip
    return {**row, **more}


def trigger(name: str, peer: str = "203.0.113.9", **more: Any) -> Any:
    row = {"trigger_id": f"{name}-{peer}", "token_id": name, "peer": peer, "peer_kind": "client", "via": "http", "first_at": AT,
           "last_at": AT, "hits": 2, "echo": False, "user_agent": "curl/8", "request_path": f"/{SLUG}", "dns_qname": f"{SLUG}.c.example",
           "label": SLUG, "session_id": None, "report": None}  # fmt: skip
    return {**row, **more}


TRIPPED = {"trips": 1, "first_trip_at": AT, "last_trip_at": AT + timedelta(hours=1)}


def test_what_was_set_off_last_stands_first_then_the_newest() -> None:
    rows = [token("a-old"), token("b-new", minted_at=AT + timedelta(days=1)), token("c-hit", **TRIPPED),
            token("d-late", **{**TRIPPED, "last_trip_at": AT + timedelta(hours=2)})]  # fmt: skip
    assert [line["token_id"] for line in token_lines(rows, [])] == ["d-late", "c-hit", "b-new", "a-old"]


@pytest.mark.parametrize(
    ("more", "state"),
    [
        ({"placed_at": None}, "minted"),
        ({}, "placed"),
        (TRIPPED, "tripped"),
        ({**TRIPPED, "revoked_at": AT}, "revoked"),
    ],
)
def test_the_state_of_a_token(more: dict[str, Any], state: str) -> None:
    (line,) = token_lines([token("a", **more)], [])
    assert line["state"] == state


def test_who_set_it_off_is_the_last_client_and_never_a_resolver() -> None:
    trips = [
        trigger("a", "192.0.2.53", peer_kind="resolver"),
        trigger("a", "203.0.113.9", session_id="s1"),
        trigger("a", "203.0.113.8"),
    ]
    trips += [trigger("a", f"198.51.100.{n}") for n in range(LAST_TRIPS)]
    (line,) = token_lines([token("a", **TRIPPED)], trips)
    assert (line["attacker_ip"], line["session_id"], len(line["last_trips"])) == (
        "203.0.113.9",
        "s1",
        LAST_TRIPS,
    )
    (line,) = token_lines([token("a", **TRIPPED)], trips[:1])
    assert (line["attacker_ip"], line["session_id"]) == (None, None)


def shown(lines: list[TokenLine]) -> FleetView:
    glyphs.use("ascii", {})
    view = FleetView(Feed())
    view.load(Read([], [], lines))
    return view


def test_nothing_that_makes_a_token_secret_is_shown_copied_or_exported() -> None:
    view = shown(token_lines([token("aws-1", **TRIPPED)], [trigger("aws-1")]))
    line = "".join(text for text, _ in view.line(0, 80))
    told = [
        line,
        *view.detail(),
        view.copy_text(),
        json.dumps(view.records(), default=plain_value),
        " ".join(view.fields(view.rows[0]).values()),
    ]
    assert not [text for text in told if SLUG in text]
    assert "aws-1        web-01" in line
    assert "aws token /root" in line
    assert "! tripped" in line
    assert "203.0.113.9 by http, 2 hits" in "\n".join(view.detail())


def test_a_token_that_was_set_off_leads_to_the_session_or_to_who_did_it_and_is_no_decoy() -> None:
    view = shown(token_lines([token("aws-1", **TRIPPED)], [trigger("aws-1", session_id="s1")]))
    assert view.leads_to() == Place("actors", "s1")
    assert view.decoy_here is None
    assert (view.decoy("aws-1"), view.names()) == (None, [])
    assert view.gutter(0) == glyphs.current().stale
    assert "1 token set off" in view.about()
    assert shown(token_lines([token("aws-1", **TRIPPED)], [trigger("aws-1")])).leads_to() == Place(
        "actors", "203.0.113.9"
    )
    assert shown(token_lines([token("aws-1")], [])).leads_to() is None


@pytest.mark.parametrize(("first", "live", "told"), [(True, True, 1), (False, True, 0), (True, False, 0)])
def test_the_first_trip_is_told_when_it_comes(first: bool, live: bool, told: int) -> None:
    use_usual_keys()
    feed = Feed()
    payload = {
        "token_id": "aws-1",
        "trigger_id": "t",
        "decky_id": "web-01",
        "attacker_ip": "203.0.113.9",
        "first_trip": first,
        "kind": "page",
        "path": "/srv/pass.html",
        "read_session_id": "s1",
        "read_ip": "203.0.113.7",
    }
    feed.add(Event("canary.aws-1.triggered", payload), live=live)
    assert len(feed.notices) == told
    if told:
        who = "canary token set off by 203.0.113.9 (5 shows it): "
        assert feed.notices[0] == f"{who}page /srv/pass.html on web-01, read by 203.0.113.7 in s1"


def test_of_a_resolver_it_is_not_said_that_it_attacks() -> None:
    feed = Feed()
    payload = {
        "token_id": "dns-1",
        "trigger_id": "t",
        "decky_id": "web-01",
        "attacker_ip": "192.0.2.53",
        "first_trip": True,
        "peer_kind": "resolver",
    }
    feed.add(Event("canary.dns-1.triggered", payload))
    assert "set off by a resolver" in feed.notices[0]


def decoy(**more: Any) -> Any:
    row = {"name": "web-01", "archetype": "web-server", "substrate": "dry_run", "address": "127.0.0.1", "observed": ["http"], "desired": ["http"],
           "pinned": [], "pool": ["http", "ftp"], "ports": {}, "mutate_interval": "12h", "every": "12h", "last_mutated": AT, "next_due": None, "live": 0, "hits": 3,
           "reason": "", "retry_at": None, "topology_id": "lab", "state": "running", "failures": 0, "pending": False}  # fmt: skip
    return {**row, **more}


@pytest.mark.parametrize(
    ("interval", "after", "words"),
    [("12h", 43_200, "(12h after the last)"), ("12h", 45_000, "(12h after the last, 30m00s later by chance)"),
     ("12h", 42_000, "(12h after the last, 20m00s earlier by chance)"), ("", 1, "next 2026"), ("never", 1, "next 2026"), ("junk", 1, "next 2026")],
)  # fmt: skip
def test_the_next_rotation_says_why_at_that_moment(interval: str, after: int, words: str) -> None:
    view = FleetView(Feed())
    view.load(Read([decoy(every=interval, next_due=AT + timedelta(seconds=after))], [], []))
    (line,) = (text for text in view.detail() if text.startswith("rotates"))
    assert words in line
    assert ("by chance" in line) == ("by chance" in words)
    told = words.startswith("(")
    assert (f"next {words.strip('()')}" in view.status()[0]) == told, "the line above the list says it too"
    assert ("M mutates" in view.status()[0]) != told


def test_who_read_a_token_where_it_lies_is_shown_the_last_ones_first() -> None:
    reads: list[Any] = [
        {"token_id": "aws-1", "session_id": f"s{n}", "command_id": "c", "attacker_uuid": None, "attacker_ip": f"203.0.113.{n}",
         "decky_id": "web-01", "path": "/root/.aws/credentials", "at": AT}
        for n in range(LAST_READS + 1)
    ]  # fmt: skip
    view = shown(token_lines([token("aws-1"), token("b-2")], [], reads))
    detail = view.row_detail(next(row for row in view.rows if row["name"] == "aws-1"))
    told = detail[detail.index("read there, newest first:") + 1 :]
    assert [line.split(" ", 4)[-1] for line in told] == [
        f"203.0.113.{n} in session s{n}" for n in range(LAST_READS)
    ]
    assert "read there, newest first:" not in view.row_detail(
        next(row for row in view.rows if row["name"] == "b-2")
    )


def test_a_token_of_another_service_says_by_its_memo_where_it_lies() -> None:
    foreign = token("k3v9", kind="canarytokens/web", decky_id="", path=None, memo="on web-01", **TRIPPED)
    view = shown(token_lines([foreign], [trigger("k3v9", via="webhook")]))
    line = "".join(text for text, _ in view.line(0, 80))
    assert "on web-01 (canary" in line
    assert "! tripped" in line
    detail = "\n".join(view.row_detail(view.rows[0]))
    assert "known since" in detail
    assert "minted" not in detail
    assert "203.0.113.9 by webhook, 2 hits" in detail
