"""The engine and its bus server are killed while sessions flow: nothing lost, nothing doubled, no news of nothing."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fault.clusterkit import nodes
from tests.fault.crew import CONFIG_OF_A_SERVER, Crew
from tests.fault.growing import growing, moments, once, write
from tests.fault.outcome import heard_at, heard_of, news_beside_rows, outcome, same, sessions_in
from tests.fault.pgkit import postgres
from tests.fault.scale import scaled, seconds
from tests.fault.scene import LIMIT_S, Scene, server_pid, url_of
from tests.natskit import PASSWORD, USER, nats_server
from tests.programkit import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(seconds(7200, 240))]
SESSIONS, ENGINE_KILLS, SERVER_KILLS = scaled(20_000, 400), scaled(25, 3), scaled(5, 1)
LINES_A_SECOND = 3_000
SOME = 40
"""Sessions of a log over which an engine dies at one place."""
FEW = ("--workers", "sensors,recorder,ttp")
"""Nobody waits for what is lost on purpose."""


@pytest.mark.soak
@pytest.mark.fault(
    fault="kill -9 of the engine 25 times and of its bus server 5 times while 20,000 sessions flow (SQLite)",
    guard="acknowledged after the commit, derived ids, news in the transaction's outbox",
    control="test_what_is_acknowledged_before_the_commit_is_lost",
    figure="lost 0, doubled 0; every tag, story and identity told of, nothing else",
)
def test_engine_and_bus_server_killed_while_sessions_flow(tmp_path: Path) -> None:
    scene = Scene(tmp_path, SESSIONS)
    url = url_of(scene.data)
    left = moments(SESSIONS, ENGINE_KILLS)
    servers = set(left[:: max(1, len(left) // SERVER_KILLS)][:SERVER_KILLS])
    killed = 0
    with growing(scene.log, scene.lines, LINES_A_SECOND):
        for moment in left:
            with scene.running() as engine:
                if moment in servers:
                    first = server_pid(scene.data)
                    os.kill(first, signal.SIGKILL)
                    killed += 1
                    until(
                        lambda first=first: server_pid(scene.data) not in (0, first), LIMIT_S, "a new server"
                    )
                once(lambda: sessions_in(url), moment, LIMIT_S)
                engine.kill()
    assert killed == SERVER_KILLS
    scene.to_the_end(scene.data)
    same(outcome(url), scene.undisturbed(), scene.made)
    news = news_beside_rows(asyncio.run(heard_of(scene.data)), url)
    assert (news.of_nothing, news.untold) == ({}, {})


@pytest.mark.fault(
    fault="the engine dies between effect and commit, commit and acknowledgement, outbox and broker",
    guard="one transaction a batch, then the acknowledgement; a row of the outbox lives until the broker has it",
    control="test_a_drawn_id_is_doubled_by_a_death_before_the_acknowledgement",
    figure="5 deaths, each in the middle of a batch: lost 0, doubled 0, untold 0",
)
def test_a_death_at_each_place_costs_nothing(tmp_path: Path) -> None:
    scene = Scene(tmp_path, SOME * 5)
    url = url_of(scene.data)
    places = ("recorder.handled", "ttp.handled", "recorder.committed", "ttp.committed", "taken")
    for number, place in enumerate(places):
        write(scene.log, _portion(scene, number, len(places)))
        scene.dies(place, *FEW)
    scene.to_the_end(scene.data, *FEW)
    same(outcome(url), scene.undisturbed(*FEW), scene.made)
    news = news_beside_rows(asyncio.run(heard_of(scene.data)), url)
    assert (news.of_nothing, news.untold) == ({}, {})


def _portion(scene: Scene, number: int, of: int) -> list[str]:
    """One of so many portions of the log; each is enough for an engine to die over."""
    size = len(scene.lines) // of
    return scene.lines[number * size : (number + 1) * size if number < of - 1 else None]


def test_what_is_acknowledged_before_the_commit_is_lost(tmp_path: Path) -> None:
    scene = Scene(tmp_path, SOME)
    write(scene.log, scene.lines)
    scene.dies("recorder.handled", *FEW, without="ack-after-commit")
    scene.to_the_end(scene.data, *FEW)
    found = outcome(url_of(scene.data))
    assert scene.made - found.commands, "lost"
    with pytest.raises(AssertionError):
        same(found, found, scene.made)


def test_a_drawn_id_is_doubled_by_a_death_before_the_acknowledgement(tmp_path: Path) -> None:
    scene = Scene(tmp_path, SOME)
    write(scene.log, scene.lines)
    scene.dies("ttp.committed", *FEW, without="derived-ids")
    scene.to_the_end(scene.data, *FEW)
    found = outcome(url_of(scene.data))
    assert max(found.tags.values()) > 1
    with pytest.raises(AssertionError, match="or twice"):
        same(found, replace(found, tags=Counter(set(found.tags))), scene.made)


@pytest.mark.fault(
    fault="the engine dies between its outbox and the broker",
    guard="a row of the outbox is deleted after the broker has stored it",
    control="itself",
    figure="without the guard the news of 2 batches are lost",
)
def test_news_that_leave_the_outbox_too_early_are_lost(tmp_path: Path) -> None:
    scene = Scene(tmp_path, SOME)
    write(scene.log, scene.lines)
    scene.dies("taken", *FEW, without="outbox-until-stored")
    scene.to_the_end(scene.data, *FEW)
    url = url_of(scene.data)
    news = news_beside_rows(asyncio.run(heard_of(scene.data)), url)
    assert news.untold, "the guard was taken away"
    assert news.of_nothing == {}


@pytest.mark.fault(
    fault="the engine dies before it commits what it has told of",
    guard="news wait in the transaction for its commit",
    control="itself",
    figure="with the guard 0 news of rows that are not there, without it some",
)
@pytest.mark.parametrize("without", ["", "news-after-commit"])
def test_news_before_the_commit_are_of_nothing(tmp_path: Path, without: str) -> None:
    with nats_server(tmp_path / "nats") as bus_url:
        scene = Scene(tmp_path, SOME, CONFIG_OF_A_SERVER)
        write(scene.log, scene.lines)
        scene.dies("recorder.handled", *FEW, "--bus", bus_url, without=without)
        news = news_beside_rows(
            asyncio.run(heard_at(bus_url, user=USER, password=PASSWORD)), url_of(scene.data)
        )
    assert bool(news.of_nothing) == bool(without)


@pytest.mark.soak
@pytest.mark.fault(
    fault="two engines on PostgreSQL are killed 25 times, their bus server 5 times, PostgreSQL is crashed twice and cut off twice, over 20,000 sessions",
    guard="a batch is one transaction; an outage of bus or database is no failure of an event",
    control="test_a_drawn_id_is_doubled_by_a_death_before_the_acknowledgement",
    figure="lost 0, doubled 0; every tag, story and identity told of, nothing else",
)
def test_two_engines_bus_server_and_postgresql_killed_while_sessions_flow(tmp_path: Path) -> None:
    scene = Scene(tmp_path, SESSIONS, CONFIG_OF_A_SERVER)
    actions = [*["engine"] * scaled(25, 2), *["bus"] * scaled(5, 1), *["crash", "cut"] * scaled(2, 1)]
    random.Random(1).shuffle(actions)
    with nodes(tmp_path / "nats") as (bus,), postgres() as pg, ExitStack() as stack:
        given = ("--config", scene.config, "--bus", bus.url, "--db", pg.url)
        crew = Crew(scene, ("one", "two"), given)
        stack.callback(crew.end)
        do = {
            "engine": crew.replace,
            "bus": lambda: (bus.kill(), bus.start()),
            "crash": pg.crash,
            "cut": pg.cut,
        }
        with growing(scene.log, scene.lines, LINES_A_SECOND):
            for moment, action in zip(moments(SESSIONS, len(actions)), actions, strict=True):
                once(lambda: sessions_in(pg.url), moment, LIMIT_S)
                do[action]()
        crew.end()
        scene.to_the_end(crew.folders[0], "--bus", bus.url, "--db", pg.url)
        events = asyncio.run(heard_at(bus.url, user=USER, password=PASSWORD))
        same(outcome(pg.url), scene.undisturbed(), scene.made)
        news = news_beside_rows(events, pg.url)
    assert (news.of_nothing, news.untold) == ({}, {})
