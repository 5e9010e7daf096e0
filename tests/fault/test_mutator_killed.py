"""Decoys that are real processes, and things that go wrong: kills, taken ports, a missing environment."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from decnet.config import Settings
from decnet.db.repository import BaseRepository
from decnet.errors import SubstrateError
from decnet.mutator import mutate_all, mutate_decky
from decnet.mutator.observe import tend
from decnet.mutator.rows import Tools
from decnet.mutator.service import MutationService
from decnet.mutator.substrate import process
from decnet.mutator.substrate.base import Target
from decnet.mutator.substrate.opencanary import OpenCanarySubstrate
from decnet.services import load_catalogue
from tests.canarykit import answers, decoys_end, ensure_opencanary, free_ports
from tests.dbkit import open_repo
from tests.mutatorkit import applied, drain, settings_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
POOL = ("ftp", "telnet", "redis", "http")

KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from decnet.config import load_settings
from decnet.db.repository import BaseRepository
from decnet.mutator.queue import request_rotation
from decnet.mutator.service import MutationService

async def main(when):
    settings = load_settings(data_dir=Path(sys.argv[1]), db=sys.argv[2])
    repo = await BaseRepository.open(settings.db_url)
    service = MutationService(repo, settings)
    substrate = service.substrates["opencanary"]._others
    if when == "commit":
        async def killed(*_): os.kill(os.getpid(), signal.SIGKILL)
        service.succeeded = killed
    else:
        start = substrate._start
        async def killed(*more):
            await start(*more)
            os.kill(os.getpid(), signal.SIGKILL)
        substrate._start = killed
        if when == "stop":
            async def killed(*_): os.kill(os.getpid(), signal.SIGKILL)
            substrate._start = killed
    await service.serve_request(await request_rotation(repo, "web-01", request_id="r"))

asyncio.run(main(sys.argv[3]))
"""


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    made = settings_for(tmp_path, opencanary_env=ensure_opencanary(), start_timeout_s=60.0)
    with decoys_end(made.data_dir):
        yield made


@pytest.fixture
async def repo(tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo("sqlite", tmp_path) as opened:
        yield opened


def fleet(ports: dict[str, int]) -> str:
    shown = ", ".join(f"{name}: {port}" for name, port in ports.items())
    return f"fleet: lab\ndeckies:\n  - {{name: web-01, pool: [{', '.join(ports)}], services: [ftp], ports: {{{shown}}}}}\n"


def opened(ports: dict[str, int]) -> list[str]:
    return [name for name, port in ports.items() if answers(port)]


@pytest.mark.fault(
    fault="kill -9 between a change of a decoy and its commit",
    guard="what is observed is written only after a look; a dead owner gives its lease up",
    control="mutant mutator-interrupted-change-forgotten",
    figure="desired, stored and running services agree after the next start",
)
@pytest.mark.parametrize("when", ["commit", "start", "stop"])
async def test_killed_between_apply_and_commit(repo: BaseRepository, settings: Settings, when: str) -> None:
    ports = dict(zip(POOL, free_ports(4), strict=True))
    await applied(repo, settings, fleet(ports))
    service = MutationService(repo, settings)
    await drain(service)
    assert opened(ports) == ["ftp"]
    environment = {**os.environ, "DECNET_MUTATOR__OPENCANARY_ENV": str(settings.mutator.opencanary_env)}
    died = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", KILLED, str(settings.data_dir), f"sqlite:///{repo.db.path}", when],
        env=environment, capture_output=True, timeout=90, check=False,
    )  # fmt: skip
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    row = await repo.decky_get("web-01")
    assert row is not None
    assert row["pending"]
    assert row["observed"] == ["ftp"], "nobody wrote down more than was known"
    after = MutationService(repo, settings)
    await tend(after)
    await drain(after)
    row = await repo.decky_get("web-01")
    assert row is not None
    assert sorted(row["desired"]) == sorted(row["observed"]) == sorted(opened(ports))
    assert "ftp" not in row["observed"]
    assert (row["state"], row["pending"]) == ("running", False)
    (change, creation) = await repo.mutations(target="web-01")
    assert (change["state"], creation["state"]) == ("applied", "applied")


@pytest.mark.fault(
    fault="the port of a new service is taken",
    guard="ports are looked at before the old decoy goes",
    control="mutant mutator-ports-not-checked",
    figure="the old decoy is not even restarted",
)
async def test_a_taken_port_leaves_the_old_decoy_and_is_tried_again(
    repo: BaseRepository, settings: Settings
) -> None:
    ports = dict(zip(("ftp", "telnet"), free_ports(2), strict=True))
    await applied(repo, settings, fleet(ports))
    service = MutationService(repo, settings)
    await drain(service)
    (pid,) = process.find(str(settings.data_dir.absolute() / "fleet/decoys/web-01/decoy.tac"))
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", ports["telnet"]))
        other.listen()
        outcome = await mutate_decky("web-01", repo, settings=settings, service=service)
        assert not outcome.applied
        assert "cannot be had: Address already in use" in outcome.reason
        row = await repo.decky_get("web-01")
        assert row is not None
        assert (row["observed"], row["state"], row["pending"]) == (["ftp"], "failed", True)
        assert "cannot be had" in row["reason"]
        assert process.runs(pid, str(settings.data_dir.absolute() / "fleet/decoys/web-01/decoy.tac")), (
            "not even restarted"
        )
    async with asyncio.timeout(30):
        while (row := await repo.decky_get("web-01")) and row["pending"]:
            await drain(service)
            await asyncio.sleep(0.05)
    assert opened(ports) == ["telnet"]


@pytest.mark.fault(
    fault="the environment of the decoys is missing",
    guard="a half made environment does not count",
    control="mutant mutator-half-made-environment-counts",
    figure="the reason names fleet setup",
)
async def test_no_environment_says_what_to_do(repo: BaseRepository, tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    await applied(repo, settings, fleet({"ftp": 20_001}))
    service = MutationService(repo, settings)
    await service.serve_one()
    row = await repo.decky_get("web-01")
    assert row is not None
    assert "fleet setup" in row["reason"]
    assert (row["observed"], row["state"]) == ([], "failed")
    topology = await repo.topology_get("lab")
    assert topology is not None
    assert (topology["status"], "web-01: OpenCanary is not installed" in topology["reason"]) == (
        "failed",
        True,
    )


@pytest.mark.fault(
    fault="a decoy that ends at its start",
    guard="the old settings come back",
    control="mutant mutator-old-decoy-stays-down",
    figure="the old ports answer",
)
async def test_a_decoy_that_will_not_start_brings_the_old_one_back(
    settings: Settings, tmp_path: Path
) -> None:
    ports = dict(zip(POOL, free_ports(4), strict=True))
    substrate = OpenCanarySubstrate(settings, load_catalogue())
    web = Target("web-01", "lab", "127.0.0.1", POOL, ports)
    await substrate.apply(web, ["ftp"])
    good, broken = substrate._config, b"{broken"
    substrate._config = lambda *more: broken  # type: ignore[method-assign]
    with pytest.raises(SubstrateError, match="ended at once"):
        await substrate.apply(web, ["telnet"])
    assert await substrate.observe(web) == ["ftp"]
    assert opened(ports) == ["ftp"]
    substrate._config = good  # type: ignore[method-assign]
    await substrate.apply(web, ["telnet"])
    assert opened(ports) == ["telnet"]
    await substrate.remove(web)
    assert opened(ports) == []


@pytest.mark.fault(
    fault="a decoy killed, and a lost file of its process id",
    guard="drift between what is wished and what runs is repaired",
    control="mutant mutator-drift-not-repaired",
    figure="1 decoy found by its command line, 1 started again",
)
async def test_decoys_outlive_the_engine_and_a_dead_one_is_started_again(
    repo: BaseRepository, settings: Settings
) -> None:
    ports = dict(zip(POOL, free_ports(4), strict=True))
    await applied(repo, settings, fleet(ports))
    first = MutationService(repo, settings)
    await drain(first)
    mark = str(settings.data_dir.absolute() / "fleet/decoys/web-01/decoy.tac")
    (pid,) = process.find(mark)
    (settings.data_dir / "fleet/decoys/web-01/decoy.pid").unlink()
    second = MutationService(repo, settings)
    await tend(second)
    assert process.find(mark) == [pid], "found by its command line, and left alone"
    os.kill(pid, signal.SIGKILL)
    process.bury(pid)
    await tend(second)
    row = await repo.decky_get("web-01")
    assert row is not None
    assert (row["observed"], row["state"]) == ([], "down")
    await drain(second)
    assert opened(ports) == ["ftp"]


@pytest.mark.fault(
    fault="a decoy that listens on more than it should",
    guard="an address open to the world is refused",
    control="mutant mutator-open-to-the-world",
    figure="the sockets of a decoy are exactly those of its services",
)
async def test_nothing_listens_but_where_it_was_told(settings: Settings) -> None:
    catalogue = load_catalogue()
    pool = tuple(name for name, service in catalogue.services.items() if service.module)
    ports = dict(zip(pool, free_ports(len(pool)), strict=True))
    substrate = OpenCanarySubstrate(settings, catalogue)
    web = Target("web-01", "lab", "127.0.0.1", pool, ports)
    await substrate.apply(web, pool)
    (pid,) = process.find(str(settings.data_dir.absolute() / "fleet/decoys/web-01/decoy.tac"))
    assert process.listening(pid) == {
        (catalogue.services[name].transport, "127.0.0.1", ports[name]) for name in pool
    }
    assert await substrate.observe(web) == list(pool)


@pytest.mark.fault(
    fault="two engines rotate one decoy at once",
    guard="a change has one owner, and a lease",
    control="mutant mutator-owner-not-checked",
    figure="1 rotation told",
)
async def test_a_pass_over_real_decoys_on_one_database_by_two_engines(
    repo: BaseRepository, settings: Settings
) -> None:
    ports = dict(zip(POOL, free_ports(4), strict=True))
    await applied(repo, settings, fleet(ports))
    tools = Tools.of(settings)
    engines = [MutationService(repo, settings, tools=tools, owner=f"elsewhere-{i}:1:x") for i in range(2)]
    await asyncio.gather(*(drain(engine) for engine in engines))
    await repo.outbox_delete([row for row, _ in await repo.outbox_take(100)])
    await repo.decky_update("web-01", None, next_due=0.0)
    await asyncio.gather(*(mutate_all(repo, settings=settings, service=engine) for engine in engines))
    told = [event.topic for _, event in await repo.outbox_take(100) if event.topic.endswith(".mutation")]
    row = await repo.decky_get("web-01")
    assert row is not None
    assert (told, sorted(row["observed"])) == (["decky.web-01.mutation"], sorted(opened(ports)))
