"""Containers: the project file to the letter, and every call of the client, against a stand-in that checks them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from decnet.config import MutatorSettings
from decnet.errors import SubstrateError
from decnet.mutator.substrate.base import Target
from decnet.mutator.substrate.compose import ComposeSubstrate, as_text, changed, render_services
from decnet.services import load_catalogue

CATALOGUE = load_catalogue()
WEB = Target(
    "web-01", "lab", "127.0.0.1", ("http", "wordpress", "ftp", "ssh", "sip"), {"ssh": 12022}, ("dmz",)
)
GOLDEN = """\
# Made by decnet-tui from the fleet in its database. Changes here are lost.
services:
  web-01--ssh:
    image: dtagdevsec/cowrie:24.04.1
    hostname: web-01
    restart: unless-stopped
    ports:
    - 127.0.0.1:12022:22/tcp
    labels:
      decnet.decky: web-01
      decnet.service: ssh
    pids_limit: 256
    mem_limit: 512m
    read_only: true
    tmpfs:
    - /tmp/cowrie:uid=2000,gid=2000
    - /tmp/cowrie/data:uid=2000,gid=2000
    volumes:
    - /logs/ssh:/home/cowrie/cowrie/log
    networks:
    - dmz
networks:
  dmz: {}
"""


class Docker:
    """The stand-in in a directory of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        script = Path(__file__).parent.parent / "docker_standin.py"
        self.program = folder / "docker"
        self.program.write_text(f"#!{sys.executable}\n{script.read_text()}")
        self.program.chmod(0o755)

    @property
    def running(self) -> set[str]:
        path = self.folder / "state.json"
        return set(json.loads(path.read_text())) if path.exists() else set()

    def calls(self) -> list[list[str]]:
        """Verb and words of each call since the last time."""
        path = self.folder / "calls.jsonl"
        found = [json.loads(line)[5:] for line in path.read_text().splitlines()] if path.exists() else []
        path.unlink(missing_ok=True)
        return found

    def fail(self, *faults: dict[str, Any]) -> None:
        (self.folder / "faults.json").write_text(json.dumps(faults))


@pytest.fixture
def docker(tmp_path: Path) -> Docker:
    return Docker(tmp_path / "bin")


def substrate(docker: Docker, tmp_path: Path, **more: Any) -> ComposeSubstrate:
    settings = MutatorSettings(docker=str(docker.program), **{"docker_timeout_s": 30.0, **more})
    return ComposeSubstrate(settings, tmp_path / "data", CATALOGUE)


def test_the_project_file_to_the_letter() -> None:
    services = render_services(WEB, ["ssh"], CATALOGUE, lambda name: Path("/logs") / name)
    assert as_text(changed({"services": {}}, "web-01", services)) == GOLDEN


def test_one_decky_leaves_the_others_alone() -> None:
    other = Target("web-01-b", "lab", "::1", ("ftp", "sip"))
    logs = Path("/logs")
    project = changed(
        {"services": {}}, "web-01-b", render_services(other, ["sip", "ftp"], CATALOGUE, lambda n: logs / n)
    )
    project = changed(project, "web-01", render_services(WEB, ["http"], CATALOGUE, lambda n: logs / n))
    assert sorted(project["services"]) == ["web-01--http", "web-01-b--ftp", "web-01-b--sip"]
    assert project["services"]["web-01-b--sip"]["ports"] == ["[::1]:5060:5060/udp"]
    assert sorted(changed(project, "web-01", {})["services"]) == ["web-01-b--ftp", "web-01-b--sip"]
    with pytest.raises(SubstrateError, match="no image for 'git'"):
        render_services(WEB, ["git"], CATALOGUE, lambda n: logs / n)


def _plugin() -> bool:
    """Whether this machine has Docker's compose plugin; an engine is not needed to read a file."""
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0


def test_the_file_is_one_that_the_real_plugin_takes(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(GOLDEN)
    assert yaml.safe_load(GOLDEN)["networks"] == {"dmz": {}}
    if _plugin():
        subprocess.run(
            ["docker", "compose", "-p", "decnet-x", "-f", str(file), "config", "--quiet"], check=True
        )


async def test_a_rotation_starts_the_new_ones_before_the_old_ones_go(docker: Docker, tmp_path: Path) -> None:
    made = substrate(docker, tmp_path)
    await made.apply(WEB, ["http", "ftp"])
    assert docker.calls() == [["up", "-d", "--no-deps", "web-01--ftp", "web-01--http"]]
    assert await made.observe(WEB) == ["http", "ftp"]
    docker.calls()
    await made.apply(WEB, ["http", "ssh"])
    assert docker.calls() == [
        ["ps", "--all", "--format", "json"], ["up", "-d", "--no-deps", "web-01--ssh"], ["rm", "-s", "-f", "web-01--ftp"],
    ]  # fmt: skip
    assert docker.running == {"web-01--http", "web-01--ssh"}
    await made.apply(WEB, ["http", "ssh"])
    assert docker.calls() == [["ps", "--all", "--format", "json"]], "nothing to do"
    logs = tmp_path / "data/fleet/compose/lab/logs/web-01/ssh"
    assert logs.is_dir()


async def test_what_wants_the_same_port_goes_first(docker: Docker, tmp_path: Path) -> None:
    made = substrate(docker, tmp_path)
    await made.apply(WEB, ["http"])
    docker.calls()
    await made.apply(WEB, ["wordpress"])
    assert [call[0] for call in docker.calls()] == ["ps", "rm", "up"]
    assert docker.running == {"web-01--wordpress"}


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        ("Error response from daemon: No such image: x", "image missing"),
        ("manifest for dtagdevsec/cowrie:1 not found: manifest unknown", "image missing"),
        ("Bind for 0.0.0.0:80 failed: port is already allocated", "port taken"),
        ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?", "cannot be reached"),
        ("docker: unknown command: docker compose\n\nRun 'docker --help' for more information", r"plugin is missing: install docker-compose-plugin \(docker: unknown command: docker compose\)$"),
        ("something else", "something else"),
    ],
)  # fmt: skip
async def test_a_failure_leaves_the_old_ones_running_and_says_why(docker: Docker, tmp_path: Path, said: str, meaning: str) -> None:  # fmt: skip
    made = substrate(docker, tmp_path)
    await made.apply(WEB, ["http", "ftp"])
    before = (tmp_path / "data/fleet/compose/lab/compose.yaml").read_text()
    docker.calls()
    docker.fail({"verb": "up", "say": said, "partial": 1})
    with pytest.raises(SubstrateError, match=meaning):
        await made.apply(WEB, ["ssh", "sip"])
    assert docker.running == {"web-01--http", "web-01--ftp"}
    assert await made.observe(WEB) == ["http", "ftp"]
    assert (tmp_path / "data/fleet/compose/lab/compose.yaml").read_text() == before
    assert sum(call[0] == "up" for call in docker.calls()) == 2, "one try, and one to bring the old ones back"


@pytest.mark.parametrize("fault", [{"say": "net/http: TLS handshake timeout"}, {"sleep": 30}])
async def test_what_may_pass_is_tried_again(docker: Docker, tmp_path: Path, fault: dict[str, Any]) -> None:
    made = substrate(docker, tmp_path, docker_timeout_s=2.0)
    docker.fail({"verb": "up", **fault})
    await made.apply(WEB, ["http"])
    assert [call[0] for call in docker.calls()] == ["up", "up"]
    assert docker.running == {"web-01--http"}


async def test_a_client_that_never_answers_is_given_up(docker: Docker, tmp_path: Path) -> None:
    made = substrate(docker, tmp_path, docker_timeout_s=0.3, docker_tries=2)
    docker.fail({"verb": "up", "sleep": 30, "times": 9}, {"verb": "rm", "sleep": 30, "times": 9})
    with pytest.raises(SubstrateError, match="no answer in 0 s"):
        await made.apply(WEB, ["http"])


async def test_no_client_no_file(tmp_path: Path) -> None:
    made = ComposeSubstrate(MutatorSettings(docker=str(tmp_path / "none")), tmp_path / "data", CATALOGUE)
    assert await made.observe(WEB) == []
    with pytest.raises(SubstrateError, match="No such file"):
        await made.apply(WEB, ["http"])
    file = tmp_path / "data/fleet/compose/lab/compose.yaml"
    assert not yaml.safe_load(file.read_text())["services"]
    file.write_text("]")
    with pytest.raises(SubstrateError, match="cannot be read"):
        await made.apply(WEB, ["http"])


async def test_removal_and_one_look_for_many(docker: Docker, tmp_path: Path) -> None:
    made = substrate(docker, tmp_path)
    other = Target("db-01", "lab", "127.0.0.1", ("mysql",))
    await made.apply(WEB, ["http"])
    await made.apply(other, ["mysql"])
    docker.calls()
    assert await made.observe_many([WEB, other]) == {"web-01": ["http"], "db-01": ["mysql"]}
    assert len(docker.calls()) == 1
    await made.remove(WEB)
    await made.remove(WEB)
    assert docker.running == {"db-01--mysql"}
