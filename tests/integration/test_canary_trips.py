"""Hits of canary tokens become triggers and events, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from decnet.db.repository import BaseRepository
from decnet.decoys.canary.desk import Desk
from decnet.decoys.canary.hits import Hit
from decnet.decoys.canary.trips import ECHO_AFTER, WINDOW
from decnet.errors import DatabaseError
from decnet.events.canary import Triggered
from decnet.recorder.plan import plan_of
from tests.dbkit import KINDS, open_repo
from tests.decoykit import SLUG, START, Clock, canary_dns, settings_of, token, told
from tests.producerkit import case

OTHER = "0" * 26


@pytest.fixture(params=KINDS)
async def repo(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path) as found:
        yield found


@pytest.fixture
async def desk(repo: BaseRepository, tmp_path: Path) -> Desk:
    await repo.canary_add(token())
    return Desk(settings_of(tmp_path, max_window_triggers=3, max_waiting_hits=5), repo)


def hit(after: float = 0.0, peer: str = "203.0.113.60", **more: Any) -> Hit:
    return Hit(**{"slug": SLUG, "at": START + after, "peer": peer, "via": "http", **more})


async def written(desk: Desk, *hits: Hit) -> dict[str, int]:
    """What became of hits, each in a batch of its own."""
    for one in hits:
        desk.note(one)
        await desk.write_some()
    return dict(desk.counts)


async def test_one_trigger_for_a_token_and_a_peer_in_fifteen_minutes_with_its_count(
    repo: BaseRepository, desk: Desk
) -> None:
    window = WINDOW.total_seconds()
    counts = await written(desk, hit(), hit(1), hit(window - 1), hit(5, "203.0.113.61"), hit(window))
    assert counts == {"canary_triggers": 3, "canary_hits_again": 2}
    rows = sorted(
        (row["peer"], row["first_at"].timestamp() - START, row["hits"])
        for row in await repo.canary_triggers()
    )
    assert rows == [("203.0.113.60", 0, 3), ("203.0.113.60", window, 1), ("203.0.113.61", 5, 1)]
    events = await told(repo)
    assert [(e["topic"], e["attacker_ip"]) for e in events] == [
        ("canary.tok-1.triggered", "203.0.113.60"),
        ("canary.tok-1.triggered", "203.0.113.61"),
        ("canary.tok-1.triggered", "203.0.113.60"),
    ]
    assert {e["trigger_id"] for e in events} == {row["trigger_id"] for row in await repo.canary_triggers()}
    assert len({e["id"] for e in events}) == 3
    assert [e.get("first_trip", False) for e in events] == [True, False, False]
    row = await repo.canary_token("tok-1")
    assert row is not None
    assert (row["trips"], row["first_trip_at"], row["last_trip_at"]) == (
        5, datetime.fromtimestamp(START, UTC), datetime.fromtimestamp(START + window, UTC),
    )  # fmt: skip


async def test_hits_of_one_batch_are_one_trigger_with_their_count(repo: BaseRepository, desk: Desk) -> None:
    for n in range(4):
        desk.note(hit(n))
    await desk.write_some()
    (row,) = await repo.canary_triggers()
    assert (row["hits"], row["last_at"].timestamp() - START, len(await told(repo))) == (4, 3, 1)
    assert dict(desk.counts) == {"canary_triggers": 1}


async def test_at_most_so_many_peers_of_a_token_are_told_of_in_a_window(
    repo: BaseRepository, desk: Desk
) -> None:
    peers = [f"203.0.113.{n}" for n in range(4)]
    assert await written(desk, *(hit(n, peer) for n, peer in enumerate(peers))) == {
        "canary_triggers": 3,
        "canary_triggers_left_out": 1,
    }
    row = await repo.canary_token("tok-1")
    assert row is not None
    assert row["trips"] == 4, "what is not told of is counted"
    await written(desk, hit(WINDOW.total_seconds(), peers[3]))
    assert len(await repo.canary_triggers()) == 4


async def test_unknown_and_revoked_slugs_are_counted_and_make_no_event(
    repo: BaseRepository, desk: Desk
) -> None:
    assert await repo.canary_revoked("tok-1", datetime.now(UTC))
    assert not await repo.canary_revoked("tok-1", datetime.now(UTC))
    assert await written(desk, hit(), hit(slug=OTHER), hit(slug=OTHER)) == {
        "canary_revoked": 1,
        "canary_unknown": 2,
    }
    assert (await told(repo), await repo.canary_triggers()) == ([], [])


async def test_hits_that_find_no_room_are_dropped_and_counted(desk: Desk) -> None:
    for n in range(6):
        desk.note(hit(n))
    assert (desk.waiting, desk.counts["canary_hits_dropped"]) == (5, 1)


class Flaky:
    """A database that is away at first, or that cannot take one hit."""

    def __init__(self, repo: BaseRepository, error: Exception, times: int, slug: str = "") -> None:
        self.repo, self.error, self.times, self.slug = repo, error, times, slug

    def transaction(self) -> Any:
        if self.times and not self.slug:
            self.times -= 1
            raise self.error
        return self.repo.transaction()


async def test_hits_wait_for_a_database_that_is_away(
    repo: BaseRepository, desk: Desk, tmp_path: Path
) -> None:
    own = settings_of(tmp_path)
    own = own.model_copy(update={"runtime": own.runtime.model_copy(update={"restart_backoff_s": 0.01})})
    waiting = Desk(own, Flaky(repo, DatabaseError("away"), 3))  # type: ignore[arg-type]
    waiting.note(hit())
    task = asyncio.create_task(waiting.run())
    while waiting.waiting:
        await asyncio.sleep(0.01)
    task.cancel()
    assert len(await repo.canary_triggers()) == 1
    stopped = Desk(own, Flaky(repo, DatabaseError("away"), 99))  # type: ignore[arg-type]
    stopped.note(hit())
    await stopped.flush()
    assert stopped.waiting == 1


async def test_a_hit_that_cannot_be_taken_costs_itself_only(
    repo: BaseRepository, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    from decnet.decoys.canary import desk as module

    real = module.trip

    async def picky(tx: Any, standing: Any, row: Any, several: Any, most: int) -> Any:
        if several.hit.peer == "bad":
            raise ValueError("no")
        return await real(tx, standing, row, several, most)

    monkeypatch.setattr(module, "trip", picky)
    for peer in ("203.0.113.1", "bad", "203.0.113.2"):
        desk.note(hit(peer=peer))
    await desk.write_some()
    assert (desk.waiting, desk.counts["canary_hits_failed"]) == (0, 1)
    assert len(await repo.canary_triggers()) == len(await told(repo)) == 2


async def test_a_browsers_report_belongs_to_its_trigger_and_is_told_of_once(
    repo: BaseRepository, desk: Desk
) -> None:
    report = {"webdriver": True, "platform": "Linux x86_64", "tz": "Asia/Tokyo"}
    agent = "Mozilla/5.0 (Windows NT 10.0) HeadlessChrome/120"
    await written(desk, hit(user_agent=agent), hit(1, user_agent=agent, report=report), hit(2, report=report))
    first, second = await told(repo)
    assert first["trigger_id"] == second["trigger_id"]
    assert first["id"] != second["id"]
    assert (first["automation_hash"], first["ua_signature"]) == ("headless_chrome", "mozilla")
    assert "navigator_webdriver" not in first
    assert (second["navigator_webdriver"], second["platform_mismatch"]) == (True, True)
    assert dict(desk.counts) == {"canary_triggers": 1, "canary_reports": 1, "canary_hits_again": 1}
    (row,) = await repo.canary_triggers()
    assert (row["report"], row["hits"]) == (report, 3)


async def test_time_zones_that_one_peer_tells_of_are_counted(repo: BaseRepository, desk: Desk) -> None:
    for n, zone in enumerate(["Asia/Tokyo", "Europe/Paris", "Europe/Paris"]):
        await written(desk, hit(n * 2000.0, report={"tz": zone}))
    assert [e.get("tz_mismatch_zones") for e in await told(repo)] == [None, 2, 2]


async def test_the_case_of_dns(repo: BaseRepository, tmp_path: Path) -> None:
    a4 = case("A4")
    own = a4["input"]["tokens"][0]
    await repo.canary_add(token(own["token_id"], own["slug"], kind="dns", decky_id=own["decky"]))
    clock = Clock()
    async with canary_dns(tmp_path, repo, clock) as (listener, desk):
        for packet in a4["input"]["packets"]:
            clock.now = START + packet["at_s"]
            raw = bytes.fromhex(packet["hex"])
            reply = listener.answered(raw, packet["peer"])
            assert reply is None or len(reply) <= 3 * len(raw)
            await desk.flush()
        assert listener.counts["dns_broken"] == 2
    rows = {row["first_at"].timestamp() - START: row for row in await repo.canary_triggers()}
    wanted = {row["at_s"]: row for row in a4["expect"]["triggers"]}
    assert rows.keys() == wanted.keys()
    for at, row in rows.items():
        assert (row["peer"], row["peer_kind"], row["label"]) == (
            wanted[at]["attacker_ip"], "resolver", wanted[at].get("label_before_slug"),
        )  # fmt: skip
    assert rows[0]["dns_qname"] == wanted[0]["dns_qname"]
    assert rows[0]["hits"] == 2
    assert {at: row["echo"] for at, row in rows.items()} == {0: False, 40: False, 86000: True}
    events = await told(repo)
    assert [(e["topic"], e["attacker_ip"], e["peer_kind"], e.get("echo", False)) for e in events] == [
        ("canary.dump-1.triggered", "198.51.100.53", "resolver", False),
        ("canary.dump-1.triggered", "198.51.100.54", "resolver", False),
        ("canary.dump-1.triggered", "198.51.100.58", "resolver", True),
    ]


async def test_what_is_no_echo(repo: BaseRepository, desk: Desk) -> None:
    late = ECHO_AFTER.total_seconds()

    def asked(after: float, peer: str, label: str | None = None) -> Hit:
        return hit(after, peer, via="dns", dns_qname="x", label=label)

    await written(desk, asked(0, "198.51.100.1", "a"), asked(late - 1, "198.51.100.2", "a"))
    await written(desk, asked(late, "198.51.100.3", "a"), asked(late + 1, "198.51.100.4", "b"))
    await written(desk, asked(3 * late, "198.51.100.1", "a"), asked(4 * late, "198.51.100.5"))
    await written(desk, hit(5 * late, "203.0.113.9"))
    assert {row["peer"]: row["echo"] for row in reversed(await repo.canary_triggers())} == {
        "198.51.100.1": False,  # it was here before
        "198.51.100.2": False,  # not late
        "198.51.100.3": True,
        "198.51.100.4": False,  # a name of its own
        "198.51.100.5": True,
        "203.0.113.9": False,  # no resolver
    }


def test_a_resolver_makes_no_actor_and_no_tag() -> None:
    from decnet.bus.base import Event
    from decnet.runtime.received import received
    from decnet.ttp.events import tagger_events

    payload = {
        "attacker_ip": "198.51.100.53",
        "token_id": "t",
        "trigger_id": "x",
        "navigator_webdriver": True,
    }
    for kind, number in (("resolver", 0), ("client", 1)):
        one = received(Event("canary.t.triggered", {**payload, "peer_kind": kind}))
        assert isinstance(one.record, Triggered)
        assert len(plan_of([one]).sightings) == number
        assert len(tagger_events(one)) == number


async def test_old_triggers_leave_with_all_that_is_old_and_their_token_stays(
    repo: BaseRepository, desk: Desk
) -> None:
    await written(desk, hit(), hit(5000))
    done = await repo.purge_older(START + 1)
    assert done["canary_trigger"] == 1
    assert [row["first_at"].timestamp() - START for row in await repo.canary_triggers()] == [5000]
    row = await repo.canary_token("tok-1")
    assert row is not None
    assert row["trips"] == 2


async def test_what_was_sent_is_found(repo: BaseRepository, desk: Desk) -> None:
    await written(
        desk,
        hit(
            user_agent="odd-fetcher/1",
            request_path="/i/x?Odd-Path",
            report={"tz": "Odd/Zone", "webdriver": True},
        ),
    )
    await written(desk, hit(1, "198.51.100.9", via="dns", dns_qname="oddhost.c.example", label="oddhost"))
    for text, value, peer in (
        ("ODD-FETCH", "odd-fetcher/1", "203.0.113.60"), ("odd-path", "/i/x?Odd-Path", "203.0.113.60"),
        ("Odd/Z", "Odd/Zone", "203.0.113.60"), ("oddhost", "oddhost.c.example", "198.51.100.9"),
    ):  # fmt: skip
        assert [(row["kind"], row["value"], row["attacker_ip"]) for row in await repo.find(text)] == [
            ("canary", value, peer)
        ]
