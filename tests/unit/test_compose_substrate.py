"""Containers without Docker: whose container is whose, the order of a change, and the way back; files and the dry run."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from decnet.config import MutatorSettings, Settings
from decnet.errors import SubstrateError
from decnet.mutator.substrate import compose, files, make_substrates
from decnet.mutator.substrate.base import Substrate, Target
from decnet.mutator.substrate.compose import ComposeSubstrate, changed, container, render_services
from decnet.mutator.substrate.dry_run import KEPT, DryRunSubstrate
from decnet.mutator.substrate.files import write_whole
from decnet.services import Catalogue, Image, Service, load_catalogue

CATALOGUE = load_catalogue()
POOL = ("http", "wordpress", "ftp", "ssh", "sip")


def target(name: str = "web", pool: Sequence[str] = POOL, **more: Any) -> Target:
    return Target(name, more.pop("topology_id", "lab"), more.pop("address", "127.0.0.1"), tuple(pool), **more)


class Engine:
    """Docker as one set of containers for each project; ``faults`` are errors of the next calls of a verb."""

    def __init__(self) -> None:
        self.up_now: dict[str, set[str]] = {}
        self.calls: list[tuple[str, ...]] = []
        self.faults: list[tuple[str, int]] = []
        self.at_once = 0
        self.most_at_once = 0

    def fault(self, verb: str) -> bool:
        for i, (wanted, left) in enumerate(self.faults):
            if wanted == verb:
                self.faults[i] = (wanted, left - 1)
                if left == 1:
                    del self.faults[i]
                return True
        return False

    def client(self, _settings: MutatorSettings, project: str, file: Path) -> Project:
        return Project(self, project, file)


class Project:
    def __init__(self, engine: Engine, project: str, file: Path) -> None:
        self.engine, self.file = engine, file
        self.mine = engine.up_now.setdefault(project, set())

    async def _call(self, verb: str, *names: str) -> None:
        self.engine.at_once += 1
        self.engine.most_at_once = max(self.engine.most_at_once, self.engine.at_once)
        await asyncio.sleep(0)
        self.engine.at_once -= 1
        self.engine.calls.append((verb, *names))
        known = yaml.safe_load(self.file.read_text())["services"] if self.file.exists() else {}
        if not set(names) <= set(known):
            raise SubstrateError("no such service")

    async def up(self, names: Sequence[str]) -> None:
        await self._call("up", *names)
        failing = self.engine.fault("up")
        self.mine.update(list(names)[: 1 if failing else None])
        if failing:
            raise SubstrateError("port taken")

    async def down(self, names: Sequence[str]) -> None:
        if not names:
            return
        await self._call("rm", *names)
        if self.engine.fault("rm"):
            raise SubstrateError("cannot remove")
        self.mine.difference_update(names)

    async def running(self) -> set[str]:
        await self._call("ps")
        if self.engine.fault("ps"):
            raise SubstrateError("cannot tell")
        return set(self.mine)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    made = Engine()
    monkeypatch.setattr(compose, "DockerCompose", made.client)
    return made


@pytest.fixture
def made(engine: Engine, tmp_path: Path) -> ComposeSubstrate:
    return ComposeSubstrate(MutatorSettings(), tmp_path, CATALOGUE)


def in_file(tmp_path: Path, fleet: str = "lab") -> list[str]:
    path = tmp_path / "fleet/compose" / fleet / "compose.yaml"
    return list(yaml.safe_load(path.read_text())["services"])


async def test_a_decky_whose_name_begins_like_anothers_keeps_its_containers(
    made: ComposeSubstrate, engine: Engine, tmp_path: Path
) -> None:
    every = [target(name) for name in ("a", "a--b", "a-b", "a-")]
    for number, decky in enumerate(every):
        await made.apply(target(decky.name, address=f"127.0.0.{number + 1}"), ["ftp"])
    await made.apply(target("a"), ["ssh"])
    everybody = {"a--ssh", "a--b--ftp", "a-b--ftp", "a---ftp"}
    assert engine.up_now["decnet-lab"] == everybody
    assert set(in_file(tmp_path)) == everybody
    assert await made.observe_many(every) == {"a": ["ssh"], "a--b": ["ftp"], "a-b": ["ftp"], "a-": ["ftp"]}
    await made.remove(target("a"))
    assert engine.up_now["decnet-lab"] == everybody - {"a--ssh"}
    assert container("a--b", "ftp") == "a--b--ftp"


async def test_new_ones_come_up_before_old_ones_go_but_for_those_with_the_same_port(
    made: ComposeSubstrate, engine: Engine
) -> None:
    await made.apply(target(), ["http", "ftp", "ssh"])
    engine.calls.clear()
    await made.apply(target(), ["wordpress", "ssh", "sip"])
    assert engine.calls == [
        ("ps",), ("rm", "web--http"), ("up", "web--sip", "web--wordpress"), ("rm", "web--ftp"),
    ]  # fmt: skip


async def test_a_container_that_died_or_changed_is_made_again_and_no_other(
    made: ComposeSubstrate, engine: Engine
) -> None:
    await made.apply(target(), ["http", "ftp"])
    engine.up_now["decnet-lab"].discard("web--ftp")
    engine.calls.clear()
    await made.apply(target(), ["http", "ftp"])
    assert engine.calls == [("ps",), ("up", "web--ftp")]
    engine.calls.clear()
    await made.apply(target(ports={"http": 81}), ["http", "ftp"])
    assert engine.calls == [("ps",), ("up", "web--http")]


async def test_a_failure_leaves_the_old_services_and_the_old_file(
    made: ComposeSubstrate, engine: Engine, tmp_path: Path
) -> None:
    await made.apply(target(), ["http", "ftp"])
    engine.faults = [("up", 1)]
    engine.calls.clear()
    with pytest.raises(SubstrateError, match="port taken"):
        await made.apply(target(), ["wordpress", "ssh"])
    assert engine.up_now["decnet-lab"] == {"web--http", "web--ftp"}
    assert in_file(tmp_path) == ["web--ftp", "web--http"]
    assert engine.calls[-2:] == [("rm", "web--ssh", "web--wordpress"), ("up", "web--ftp", "web--http")]


async def test_the_first_error_is_told_even_when_the_way_back_fails_too(
    made: ComposeSubstrate, engine: Engine, tmp_path: Path
) -> None:
    await made.apply(target(), ["http"])
    engine.faults = [("up", 2), ("rm", 1)]
    with pytest.raises(SubstrateError, match="port taken"):
        await made.apply(target(), ["ssh"])
    assert in_file(tmp_path) == ["web--http"]
    engine.faults = [("rm", 1)]
    engine.calls.clear()
    with pytest.raises(SubstrateError, match="cannot remove"):
        await made.apply(target(), ["wordpress"])
    assert [call[0] for call in engine.calls] == ["ps", "rm", "rm", "up"], (
        "nothing new came up: what ran is left"
    )


async def test_a_first_start_that_fails_leaves_nothing(
    made: ComposeSubstrate, engine: Engine, tmp_path: Path
) -> None:
    engine.faults = [("up", 1)]
    with pytest.raises(SubstrateError):
        await made.apply(target(), ["http", "ftp"])
    assert engine.up_now["decnet-lab"] == set()
    assert in_file(tmp_path) == []
    assert [call[0] for call in engine.calls] == ["up", "rm"], (
        "nothing ran before, so nothing is asked or brought back"
    )


async def test_an_old_container_that_will_not_go_is_an_error_and_out_of_the_file(
    made: ComposeSubstrate, engine: Engine, tmp_path: Path
) -> None:
    await made.apply(target(), ["ftp"])
    engine.faults = [("rm", 1)]
    with pytest.raises(SubstrateError, match="cannot remove"):
        await made.apply(target(), ["ssh"])
    assert in_file(tmp_path) == ["web--ssh"]


async def test_what_cannot_be_seen_is_an_error_and_no_empty_list(
    made: ComposeSubstrate, engine: Engine
) -> None:
    assert await made.observe(target()) == []
    assert await made.observe_many([target()]) == {"web": []}
    assert engine.calls == [], "without a file there is nobody to ask"
    await made.apply(target(), ["ftp"])
    engine.faults = [("ps", 2)]
    with pytest.raises(SubstrateError, match="cannot tell"):
        await made.observe(target())
    with pytest.raises(SubstrateError, match="cannot tell"):
        await made.observe_many([target()])


async def test_one_look_for_each_fleet_and_each_decky_gets_its_own(
    made: ComposeSubstrate, engine: Engine
) -> None:
    other = target(topology_id="two")
    await made.apply(target(), ["ftp"])
    await made.apply(other, ["ssh"])
    engine.calls.clear()
    found = await made.observe_many([target(), target("b"), target("c", topology_id="two")])
    assert found == {"web": ["ftp"], "b": [], "c": []}
    assert engine.calls == [("ps",), ("ps",)]
    assert await made.observe(other) == ["ssh"], "one name in two fleets is two containers"


async def test_removal_keeps_the_file_when_docker_refuses(
    made: ComposeSubstrate, engine: Engine, tmp_path: Path
) -> None:
    await made.apply(target(), ["ftp"])
    engine.faults = [("rm", 1)]
    with pytest.raises(SubstrateError):
        await made.remove(target())
    assert in_file(tmp_path) == ["web--ftp"], "so that the next try still knows of it"
    await made.remove(target())
    assert in_file(tmp_path) == []
    engine.calls.clear()
    await made.remove(target())
    assert engine.calls == []


async def test_the_file_of_a_fleet_has_one_writer_at_a_time(
    made: ComposeSubstrate, engine: Engine, tmp_path: Path
) -> None:
    await asyncio.gather(
        *(made.apply(target(f"d{i}", address=f"127.0.0.{i + 1}"), ["ftp"]) for i in range(5))
    )
    assert in_file(tmp_path) == [f"d{i}--ftp" for i in range(5)]
    assert engine.most_at_once == 1
    await asyncio.gather(*(made.remove(target(f"d{i}")) for i in range(5)))
    assert in_file(tmp_path) == []


@pytest.mark.parametrize("text", ["]", "[]", "services: []\n", "5", "\xff"])
async def test_a_file_that_is_none_is_never_written_over(
    made: ComposeSubstrate, tmp_path: Path, text: str
) -> None:
    path = tmp_path / "fleet/compose/lab/compose.yaml"
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode("latin-1"))
    for call in (made.apply(target(), ["ftp"]), made.remove(target())):
        with pytest.raises(SubstrateError, match=r"compose\.yaml: (?:cannot be read|no project file)"):
            await call
    assert path.read_bytes() == text.encode("latin-1")


def test_a_container_is_bounded_and_listens_where_its_decky_does() -> None:
    services = render_services(
        target(ports={"http": 8080}, networks=("dmz",)), ["http"], CATALOGUE, lambda n: Path("/l") / n
    )
    body = services["web--http"]
    assert body["ports"] == ["127.0.0.1:8080:80/tcp"]
    assert (body["pids_limit"], body["mem_limit"], body["read_only"], body["restart"]) == (
        256,
        "512m",
        True,
        "unless-stopped",
    )
    assert (body["networks"], body["hostname"]) == (["dmz"], "web")
    assert body["labels"] == {"decnet.decky": "web", "decnet.service": "http"}
    assert not {"privileged", "cap_add", "network_mode", "devices", "pid"} & set(body)
    v6 = render_services(target(address="::1"), ["sip", "ftp"], CATALOGUE, lambda n: Path("/l") / n)
    assert v6["web--sip"]["ports"] == ["[::1]:5060:5060/udp"]
    assert v6["web--ftp"]["read_only"] is False, "its image cannot"


def test_text_of_a_catalogue_stays_text_in_the_project_file() -> None:
    image = Image(
        "own/x:1", 1, environment={"A": "b: c\n- d", "E": "*x"}, command=("--flag", "{a: b}"), tmpfs=("/t",)
    )
    own = Catalogue({"x": Service("x", 1, image=image)}, {})
    project = changed({}, "web", render_services(target(pool=["x"]), ["x"], own, lambda n: Path("/l") / n))
    again = yaml.safe_load(compose.as_text(project))
    assert again == project
    assert again["services"]["web--x"]["environment"] == {"A": "b: c\n- d", "E": "*x"}
    assert again["services"]["web--x"]["command"] == ["--flag", "{a: b}"]
    assert again["services"]["web--x"]["tmpfs"] == ["/t:uid=2000,gid=2000"]
    assert "volumes" not in again["services"]["web--x"]


def test_networks_of_the_project_are_those_that_services_name() -> None:
    def logs(name: str) -> Path:
        return Path("/l") / name

    one = changed({}, "a", render_services(target("a", networks=("dmz", "lan")), ["ftp"], CATALOGUE, logs))
    assert one["networks"] == {"dmz": {}, "lan": {}}
    two = changed(one, "b", render_services(target("b", networks=("dmz",)), ["ftp"], CATALOGUE, logs))
    assert changed(two, "a", {})["networks"] == {"dmz": {}}
    assert "networks" not in changed(changed(two, "a", {}), "b", {})


async def test_directories_for_logs_are_made_before_docker_would_make_them_as_root(
    made: ComposeSubstrate, tmp_path: Path
) -> None:
    await made.apply(target(), ["ssh"])
    logs = tmp_path / "fleet/compose/lab/logs/web/ssh"
    assert stat.S_IMODE(logs.stat().st_mode) == 0o777
    (tmp_path / "fleet/compose/lab/logs/web/ftp").write_text("in the way")
    with pytest.raises(SubstrateError, match="ftp: File exists"):
        await made.apply(target(), ["ftp"])
    assert await made.observe(target()) == ["ssh"]


def test_files_appear_whole_private_and_leave_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a" / "b.yaml"
    synced: list[int] = []
    monkeypatch.setattr(files.os, "fsync", synced.append)
    write_whole(path, b"one")
    assert (
        path.read_bytes(),
        stat.S_IMODE(path.stat().st_mode),
        stat.S_IMODE(path.parent.stat().st_mode),
    ) == (b"one", 0o600, 0o700)
    assert len(synced) == 2, "the file and its directory"
    write_whole(path, b"two", sync=False)
    assert (path.read_bytes(), len(synced)) == (b"two", 2)

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(SubstrateError, match=r"b\.yaml: cannot be written: No space left on device"):
        write_whole(path, b"three")
    assert path.read_bytes() == b"two"
    assert os.listdir(path.parent) == ["b.yaml"]


async def test_the_dry_run_remembers_what_would_run_and_the_last_actions(tmp_path: Path) -> None:
    made = DryRunSubstrate(tmp_path)
    decky = target()
    assert await made.observe(decky) == []
    for i in range(KEPT + 5):
        await made.apply(decky, ["ftp", "http"] if i % 2 else ["ssh"])
        await made.apply(decky, ["ftp", "http"] if i % 2 else ["ssh"])
    kept = json.loads((tmp_path / "web.json").read_text())["actions"]
    assert (len(kept), kept[-1], KEPT) == (50, "apply ssh", 50)
    assert await DryRunSubstrate(tmp_path).observe(decky) == ["ssh"], "a restart finds it again"
    await made.apply(decky, ["ftp", "http"])
    assert await made.observe(decky) == ["http", "ftp"], "in the order of the pool"
    await made.remove(decky)
    assert await made.observe(decky) == []
    for text in ("{", "[]", '{"services": 5, "actions": []}', '{"actions": []}'):
        (tmp_path / "web.json").write_text(text)
        with pytest.raises(SubstrateError, match="cannot be read"):
            await made.observe(decky)


async def test_of_many_those_that_cannot_be_told_are_left_out(tmp_path: Path) -> None:
    made = DryRunSubstrate(tmp_path)
    await made.apply(target("a"), ["ftp"])
    (tmp_path / "b.json").write_text("{")
    assert await made.observe_many([target("a"), target("b"), target("c")]) == {"a": ["ftp"], "c": []}


def test_every_substrate_by_name_and_whose_processes_belong_to_a_host(tmp_path: Path) -> None:
    every = make_substrates(Settings(data_dir=tmp_path), CATALOGUE, None)  # type: ignore[arg-type]
    assert sorted(every) == ["compose", "dry_run", "opencanary"]
    assert {name: made.host_bound for name, made in every.items()} == dict.fromkeys(every, True)
    assert Substrate.host_bound


def test_a_target_is_what_its_row_says() -> None:
    row = {
        "name": "a",
        "topology_id": "t",
        "address": "::1",
        "pool": ["x"],
        "ports": {"x": 1},
        "networks": ["n"],
    }
    assert Target.of(row) == Target("a", "t", "::1", ("x",), {"x": 1}, ("n",))
    assert Target.of({**row, "pool": None, "ports": None, "networks": None}) == Target("a", "t", "::1", ())
