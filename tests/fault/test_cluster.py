"""Three engines on three NATS nodes and one PostgreSQL, each killed once under load: one truth, and the tags of a calm run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from decnet.bus.base import Event
from decnet.bus.nats.connection import NatsBus
from decnet.config import BusSettings
from decnet.db.repository import BaseRepository
from decnet.errors import BusError
from decnet.ttp.rules import RuleState
from decnet.ttp.store.impl.database import DatabaseRuleStore
from tests.cowriegen import append_session
from tests.dbkit import KINDS, migrated_url
from tests.fault.clusterkit import Node, nodes
from tests.fault.crew import CONFIG_OF_A_SERVER, Crew
from tests.fault.growing import growing, moments, once
from tests.fault.outcome import heard_at, news_beside_rows, outcome, same, sessions_in, written
from tests.fault.pgkit import postgres
from tests.fault.scale import scaled, seconds
from tests.fault.scene import LIMIT_S, Scene, url_of
from tests.natskit import PASSWORD, USER
from tests.programkit import cli, until
from tests.storekit import database, rule

pytestmark = [pytest.mark.slow, pytest.mark.timeout(seconds(7200, 300))]
SESSIONS = scaled(20_000, 400)
LINES_A_SECOND = 3_000
NODES = 3
TOGGLED = "R0036"
LINE = "nmap -sS 192.0.2.0/24"
TOLD = 30
"""Sessions with that line, written when all engines live again."""
TRUTH_S = 1.0
"""Seconds within which every engine has what one of them was told."""


@pytest.mark.soak
@pytest.mark.fault(
    fault="three engines and three NATS nodes (R3) on one PostgreSQL, all engines started at once on an empty database, each engine and each node killed once, a rule switched off while an engine dies",
    guard="three copies of the stream, shared durable consumers, states of rules in the database and followed by all",
    control="test_a_store_that_does_not_follow_has_a_truth_of_its_own",
    figure="one truth within 1 s; tags exactly those of an undisturbed run; lost 0, doubled 0",
)
def test_three_engines_and_three_nodes_each_killed_once(tmp_path: Path) -> None:
    scene = Scene(tmp_path, SESSIONS, CONFIG_OF_A_SERVER.replace("bus: {", "bus: {replicas: 3, "))
    with nodes(tmp_path / "nats", NODES) as cluster, postgres() as pg, ExitStack() as stack:
        buses = ",".join(node.url for node in cluster)
        crew = Crew(
            scene, ("one", "two", "three"), ("--config", scene.config, "--bus", buses, "--db", pg.url)
        )
        stack.callback(crew.end)
        with growing(scene.log, scene.lines, LINES_A_SECOND):
            for number, moment in enumerate(moments(SESSIONS, NODES)):
                once(lambda: sessions_in(pg.url), moment, LIMIT_S)
                cluster[number].kill()
                crew.kill(number)
                if number == 1:
                    _one_truth(crew, died=number)
                crew.start(number)
                cluster[number].start()
        _what_it_was_told_holds(scene)
        once(lambda: sessions_in(pg.url), SESSIONS + TOLD, LIMIT_S)
        crew.end()
        scene.to_the_end(crew.folders[0], "--bus", buses, "--db", pg.url)
        events = asyncio.run(heard_at(buses, user=USER, password=PASSWORD))
        asyncio.run(_off_before(url_of(scene.calm)))
        same(outcome(pg.url), scene.undisturbed(), written(scene.log.read_text("utf-8").splitlines()))
        news = news_beside_rows(events, pg.url)
    assert (news.of_nothing, news.untold) == ({}, {})


def _off(data: Path) -> float:
    """Switches the rule off through one engine; when that was done, in epoch seconds."""
    done = cli("rules", "disable", TOGGLED, "--reason", "test", "--data-dir", data)
    assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()
    return time.time()


async def _off_before(url: str) -> None:
    """The rule is off before the first engine starts."""
    repo = await BaseRepository.open(url)
    try:
        said = RuleState("disabled", reason="test", set_by="test", set_at=datetime.now(UTC))
        await repo.rule_state_set(
            TOGGLED,
            state=said.state,
            confidence_max=None,
            expires_at=None,
            reason=said.reason,
            set_by=said.set_by,
            set_at=said.set_at,
        )
    finally:
        await repo.close()


def _one_truth(crew: Crew, died: int) -> None:
    """Told through the first engine while another dies: all that live take it over in time."""
    done = _off(crew.folders[0])
    alive = [number for number in range(NODES) if number != died]
    until(lambda: all(crew.took(n, TOGGLED, "disabled") < float("inf") for n in alive), 10, "one truth")
    assert max(crew.took(number, TOGGLED, "disabled") for number in alive) <= done + TRUTH_S


def _what_it_was_told_holds(scene: Scene) -> None:
    """Sessions that the rule would tag, for whichever engine; those that were started again know it too."""
    for number in range(TOLD):
        append_session(scene.log, f"aa{number:010d}", [LINE])


@pytest.mark.parametrize("follows", [True, False])
async def test_a_store_that_does_not_follow_has_a_truth_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, follows: bool
) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "X1.yaml").write_text(rule("X1"))
    if not follows:

        async def never(self: DatabaseRuleStore, *_: object) -> None:
            return

        monkeypatch.setattr(DatabaseRuleStore, "_take_state", never)
    async with migrated_url(KINDS[0], tmp_path) as url:
        repos = [await BaseRepository.open(url) for _ in range(2)]
        one, two = (database(repo, tmp_path / "rules") for repo in repos)
        await one.load_compiled()
        await two.load_compiled()
        task = asyncio.create_task(two.follow())
        await one.set_state("X1", RuleState("disabled"))
        await asyncio.sleep(TRUTH_S)
        assert ("X1" in two.states()) == follows
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for repo in repos:
            await repo.close()


@asynccontextmanager
async def _bus(cluster: list[Node], replicas: int) -> AsyncIterator[NatsBus]:
    settings = BusSettings(
        user=USER,
        password=SecretStr(PASSWORD),
        replicas=replicas,
        request_timeout_s=2.0,
        connect_timeout_s=20.0,
    )
    bus = NatsBus(",".join(node.url for node in cluster), settings=settings)
    async with asyncio.timeout(60):
        while True:
            try:
                await bus.connect()
                break
            except BusError:  # the nodes have not found each other yet
                await asyncio.sleep(0.2)
    try:
        yield bus
    finally:
        await bus.close()


async def _stored(bus: NatsBus, number: int, limit_s: float) -> bool:
    """Whether an event can be stored in time."""
    try:
        async with asyncio.timeout(limit_s):
            while True:
                try:
                    await bus.publish_events([Event("attacker.observed", {"n": number}, id=f"e{number}")])
                    return True
                except BusError:
                    await asyncio.sleep(0.1)
    except TimeoutError:
        return False


@pytest.mark.fault(
    fault="the node that leads the stream dies and stays dead",
    guard="three copies of the stream (bus.replicas)",
    control="itself",
    figure="with three copies all that was stored is there and more is taken, with one nothing is",
)
@pytest.mark.parametrize("replicas", [3, 1])
async def test_a_stream_of_one_copy_is_gone_with_its_node(tmp_path: Path, replicas: int) -> None:
    with nodes(tmp_path / "nats", NODES) as cluster:
        async with _bus(cluster, replicas) as bus:
            assert await _stored(bus, 1, 30)
            _, js = await bus._ready()
            leader = (await js.stream_info(bus.settings.stream)).cluster.leader
            cluster[int(leader.removeprefix("n"))].kill()
            assert await _stored(bus, 2, 30 if replicas == NODES else 5) == (replicas == NODES)
            if replicas == NODES:
                assert [event.payload["n"] for event in await bus.read_back("attacker.observed", 10)] == [
                    1,
                    2,
                ]
