"""Our own decoys as services of a decky: the mutator asks, the worker opens and closes ports, both say the truth."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from decnet.bus.null import NullBus
from decnet.config import MutatorSettings, Settings, load_settings
from decnet.db.repository import BaseRepository
from decnet.decoys.canary.desk import Desk
from decnet.decoys.fleet import FleetDecoys
from decnet.decoys.listener import Place
from decnet.decoys.setup import prepare
from decnet.decoys.worker import DecoysWorker
from decnet.errors import SensorError, SubstrateError
from decnet.mutator.substrate.base import Target
from decnet.mutator.substrate.dry_run import DryRunSubstrate
from decnet.mutator.substrate.own import OwnDecoys, WithOwnDecoys
from decnet.services import load_catalogue
from tests.dbkit import KINDS, open_repo
from tests.decoykit import KEY, SLUG, free_port, said, token, told
from tests.mailkit import message
from tests.smtpkit import Client, sent

CATALOGUE = load_catalogue()
POOL = ("smtp", "submission", "canary-http", "canary-dns", "ftp", "http")


@pytest.fixture(params=KINDS)
async def repo(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path) as opened:
        yield opened


class Others(DryRunSubstrate):
    """Stands in for OpenCanary: records, and fails when told to."""

    fault: SubstrateError | None = None

    async def apply(self, decky: Target, services: Sequence[str]) -> None:
        assert all(CATALOGUE.own_of(name) is None for name in (*services, *decky.pool))
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        await super().apply(decky, services)


class Scene:
    """One site: settings, a substrate with both parts, and a decky with ports of its own."""

    def __init__(self, folder: Path, repo: BaseRepository, **decoys: Any) -> None:
        self.settings = load_settings(data_dir=folder / "data", decoys=decoys)
        quick = MutatorSettings(start_timeout_s=2.0)
        self.settings = self.settings.model_copy(update={"mutator": quick})
        self.repo = repo
        self.others = Others(folder / "others")
        self.own = OwnDecoys(self.settings, CATALOGUE, repo)
        self.both = WithOwnDecoys(self.others, self.own, CATALOGUE)
        self.ports = {name: free_port() for name in POOL}
        self.decky = Target("mx-01", "lab", "127.0.0.1", POOL, self.ports)
        self.desk = Desk(self.settings, repo)
        self.fleet = FleetDecoys(Place(self.settings, repo, KEY), self.desk)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The worker's task."""
        task = asyncio.create_task(self.fleet.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def is_open(self, service: str) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.ports[service])
        except OSError:
            return False
        writer.close()
        return True

    async def opened(self) -> list[str]:
        return [name for name in POOL if name != "canary-dns" and await self.is_open(name)]


async def test_a_rotation_opens_and_closes_ports_of_both_kinds(repo: BaseRepository, tmp_path: Path) -> None:
    scene = Scene(tmp_path, repo, canary_dns={"zone": "c.example"})
    async with scene.running():
        await scene.both.apply(scene.decky, ["smtp", "ftp"])
        assert await scene.both.observe(scene.decky) == ["smtp", "ftp"]
        assert await scene.opened() == ["smtp"]
        await scene.both.apply(scene.decky, ["smtp", "ftp"])
        await scene.both.apply(scene.decky, ["canary-http", "canary-dns", "http"])
        assert await scene.both.observe(scene.decky) == ["canary-http", "canary-dns", "http"]
        assert await scene.opened() == ["canary-http"]
        assert await scene.others.observe(scene.decky) == ["http"]
        await scene.both.apply(scene.decky, ["canary-http"])
        assert await scene.others.observe(scene.decky) == []
        await scene.both.remove(scene.decky)
        assert await scene.both.observe(scene.decky) == []
        for _ in range(100):
            if not await scene.opened():
                break
            await asyncio.sleep(0.05)
        assert await scene.opened() == []
        assert await repo.own_decoys() == []


async def test_what_comes_in_is_of_the_decky(repo: BaseRepository, tmp_path: Path) -> None:
    scene = Scene(tmp_path, repo)
    await repo.canary_add(token())
    async with scene.running():
        await scene.both.apply(scene.decky, ["smtp", "canary-http"])
        client = Client(*await asyncio.open_connection("127.0.0.1", scene.ports["smtp"]))
        await client.answer()
        await client.say("EHLO x.example")
        assert (await sent(client, message("hello"))).startswith("250")
        await client.close()
        assert await said(
            scene.ports["canary-http"], f"GET /i/{SLUG}/a.png HTTP/1.1\r\nHost: a\r\n\r\n".encode()
        )
        await scene.desk.flush()
        figures = dict(scene.fleet.health())
        await scene.both.apply(scene.decky, ["submission"])
        for _ in range(100):
            if not await scene.is_open("smtp"):
                break
            await asyncio.sleep(0.05)
        assert scene.fleet.health()["mail_messages"] == figures["mail_messages"] == 1, "figures go on"
        assert scene.fleet.health()["http_requests"] == 1
    events = {event["topic"]: event for event in await told(repo)}
    assert events["email.received"]["decky_id"] == "mx-01"
    assert events["canary.tok-1.triggered"]["decky_id"] == "web-01", "where the token lies"
    assert [path.parent.name for path in (tmp_path / "data" / "mail").rglob("*.eml")] == ["mx-01"]


async def test_a_port_that_cannot_be_had_is_the_reason_and_the_old_ones_are_open_again(
    repo: BaseRepository, tmp_path: Path
) -> None:
    scene = Scene(tmp_path, repo)
    async with scene.running():
        await scene.both.apply(scene.decky, ["smtp", "ftp"])
        server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", scene.ports["submission"])
        async with server:
            with pytest.raises(SubstrateError, match=r"submission: .*in use"):
                await scene.both.apply(scene.decky, ["submission", "http"])
        assert await scene.both.observe(scene.decky) == ["smtp", "ftp"]
        scene.others.fault = SubstrateError("no room")
        with pytest.raises(SubstrateError, match="no room"):
            await scene.both.apply(scene.decky, ["submission", "http"])
        assert await scene.both.observe(scene.decky) == ["smtp", "ftp"]
        await scene.both.apply(scene.decky, ["submission", "http"])
        assert await scene.both.observe(scene.decky) == ["submission", "http"]


async def test_what_a_decoy_needs_is_said(repo: BaseRepository, tmp_path: Path) -> None:
    scene = Scene(tmp_path, repo)
    async with scene.running():
        with pytest.raises(SubstrateError, match=r"set decoys\.canary_dns\.zone"):
            await scene.both.apply(scene.decky, ["canary-dns"])
        with pytest.raises(SubstrateError, match="no decoy of ours plays 'ftp'"):
            await scene.own.apply(scene.decky, ["ftp"])


async def test_without_the_worker_nothing_is_open_and_that_is_said(
    repo: BaseRepository, tmp_path: Path
) -> None:
    scene = Scene(tmp_path, repo)
    with pytest.raises(SubstrateError, match="does the worker `decoys` run here"):
        await scene.both.apply(scene.decky, ["smtp"])
    assert await scene.both.observe(scene.decky) == []
    assert await repo.own_decoys() == [], "nothing is opened behind the mutator's back"


async def test_ports_end_with_the_engine_and_are_opened_again_with_it(
    repo: BaseRepository, tmp_path: Path
) -> None:
    scene = Scene(tmp_path, repo)
    async with scene.running():
        await scene.both.apply(scene.decky, ["smtp"])
    assert await scene.both.observe(scene.decky) == []
    assert not await scene.is_open("smtp")
    async with scene.running():
        for _ in range(100):
            if await scene.both.observe(scene.decky):
                break
            await asyncio.sleep(0.02)
        assert await scene.both.observe(scene.decky) == ["smtp"]


async def test_another_sites_services_are_not_opened_here(repo: BaseRepository, tmp_path: Path) -> None:
    scene, other = Scene(tmp_path, repo), Scene(tmp_path / "other", repo)
    async with scene.running():
        with pytest.raises(SubstrateError):
            await other.both.apply(other.decky, ["smtp"])
    assert not await other.is_open("smtp")


async def test_without_rows_the_worker_opens_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        worker = DecoysWorker(load_settings(data_dir=tmp_path))
        await worker.start(repo, NullBus("t"))
        assert worker.fleet is not None
        await worker.fleet.settle()
        assert worker.fleet.health() == {}


def test_fleet_setup_makes_what_our_decoys_need_and_says_what_is_missing(tmp_path: Path) -> None:
    lines = prepare(load_settings(data_dir=tmp_path))
    assert lines[0].startswith("mail is ready: certificate for mail.localdomain")
    assert lines[1:] == [
        "canary-http needs decoys.canary_http.base_url",
        "canary-dns needs decoys.canary_dns.zone",
    ]
    assert {path.name for path in tmp_path.iterdir()} == {"mail", "mail-tls.pem", "secret.key"}
    whole = load_settings(
        data_dir=tmp_path, workers=("mutator",),
        decoys={"canary_http": {"base_url": "http://files.example"}, "canary_dns": {"zone": "c.example"}},
    )  # fmt: skip
    assert [line.split(":")[0] for line in prepare(whole)[1:3]] == [
        "canary-http is ready",
        "canary-dns is ready",
    ]
    assert "not among the workers" in prepare(whole)[3]
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(SensorError):
        prepare(Settings(data_dir=blocked / "data"))


async def until(what: Any, seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not await what():
            await asyncio.sleep(0.1)


async def test_an_engine_rotates_our_decoys_by_request_and_what_comes_in_is_tagged(tmp_path: Path) -> None:
    """The whole way without OpenCanary: a fleet file, a request, ports that open and close, a mail, its tags."""
    from decnet.bus import topics
    from decnet.engine import Engine
    from decnet.mutator.fleet import parse_fleet
    from decnet.mutator.rows import Tools, apply_fleet

    ports = {name: free_port() for name in ("smtp", "canary-http")}
    shown = ", ".join(f"{name}: {port}" for name, port in ports.items())
    text = (
        "fleet: lab\nsubstrate: opencanary\ndeckies:\n"
        f"  - {{name: mx-01, pool: [smtp, canary-http], services: [smtp], mutate_interval: never, ports: {{{shown}}}}}\n"
    )
    settings = load_settings(
        data_dir=tmp_path / "data", bus={"type": "memory"}, workers=("recorder", "ttp", "mutator", "decoys"),
        ttp_rule_store_type="filesystem", mutator={"observe_s": 0.5, "poll_interval_s": 0.5},
    )  # fmt: skip
    engine = Engine(settings)
    await engine.start()
    try:
        tools = Tools.of(settings)
        fleet = parse_fleet(text, "fleet.yaml", tools.catalogue, tools.defaults)
        await apply_fleet(engine.repo, fleet, tools, actor="me")

        async def runs(*services: str) -> bool:
            (row,) = await engine.repo.deckies()
            return row["observed"] == list(services)

        await until(lambda: runs("smtp"))
        client = Client(*await asyncio.open_connection("127.0.0.1", ports["smtp"]))
        await client.answer()
        await client.say("EHLO x.example")
        assert (await sent(client, message("x", "X-Mailer: gophish"))).startswith("250")
        await client.close()

        async def tagged() -> bool:
            tags = await engine.repo.list_tags(limit=0)
            return [(tag["rule_id"], tag["decky_id"]) for tag in tags if tag["rule_id"] == "L0303"][:1] == [
                ("L0303", "mx-01")
            ]

        await until(tagged)
        await engine.bus.publish(topics.decky("mx-01", topics.DECKY_MUTATE_REQUEST), {"requested_by": "ann"})
        await until(lambda: runs("canary-http"))
        assert (await said(ports["canary-http"], b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")).startswith(
            b"HTTP/1.1 404"
        )
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", ports["smtp"])
        (change, *_) = await engine.repo.mutations(limit=1)
        assert (change["state"], change["requested_by"]) == ("applied", "ann")
    finally:
        await engine.stop(2.0)
