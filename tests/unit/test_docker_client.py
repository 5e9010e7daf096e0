"""The Docker client: its words to the letter, how often it is tried, when it is ended, and what its errors mean."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import stamina

from decnet.config import MutatorSettings
from decnet.errors import SubstrateError
from decnet.mutator.substrate import docker
from decnet.mutator.substrate.docker import DockerCompose

PASSING = b"net/http: TLS handshake timeout"


class Child:
    """A client that has said its words already; without a code it answers only when it is killed."""

    pid = 4242

    def __init__(self, code: int | None = 0, out: bytes = b"", err: bytes = b"") -> None:
        self.returncode, self.code, self.out, self.err = None, code, out, err
        self.waited = False

    async def communicate(self) -> tuple[bytes, bytes]:
        if self.code is None:
            await asyncio.Event().wait()
        self.returncode = self.code  # type: ignore[assignment]
        return self.out, self.err

    async def wait(self) -> None:
        self.waited = True


class Client:
    """Takes the place of the operating system."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.children: list[Child] = []
        self.words: list[tuple[str, ...]] = []
        self.options: list[dict[str, Any]] = []
        self.killed: list[tuple[int, int]] = []
        self.tries: list[dict[str, Any]] = []
        monkeypatch.setattr(docker.asyncio, "create_subprocess_exec", self.start)
        monkeypatch.setattr(docker.os, "killpg", lambda *what: self.killed.append(what))
        real = stamina.retry_context
        monkeypatch.setattr(stamina, "retry_context", lambda **how: self.tries.append(how) or real(**how))  # type: ignore[func-returns-value]

    async def start(self, *words: str, **options: Any) -> Child:
        self.words.append(words)
        self.options.append(options)
        return self.children.pop(0) if self.children else Child()

    def compose(self, **settings: Any) -> DockerCompose:
        return DockerCompose(MutatorSettings(docker="dk", **settings), "decnet-lab", Path("/x/compose.yaml"))


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    with stamina.set_testing(True, attempts=99, cap=True):
        yield Client(monkeypatch)


def ended(code: int, err: bytes = b"", out: bytes = b"") -> Child:
    return Child(code, out, err)


async def test_every_call_to_the_letter(client: Client) -> None:
    made = client.compose()
    await made.up(["a--ssh", "a--ftp"])
    await made.down(["a--ssh"])
    await made.down([])
    await made.check()
    assert await made.running() == set()
    head = ("dk", "compose", "-p", "decnet-lab", "-f", "/x/compose.yaml")
    assert client.words == [
        (*head, "up", "-d", "--no-deps", "a--ssh", "a--ftp"),
        (*head, "rm", "-s", "-f", "a--ssh"),
        (*head, "config", "--quiet"),
        (*head, "ps", "--all", "--format", "json"),
    ]


async def test_the_client_gets_no_terminal_no_settings_of_ours_and_a_group_of_its_own(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECNET_BUS__TOKEN", "hush")
    monkeypatch.setenv("DECNET_DB", "postgresql://me:hush@db/x")
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/d.sock")
    await client.compose().check()
    (options,) = client.options
    assert not [name for name in options["env"] if name.startswith("DECNET")]
    assert options["env"]["DOCKER_HOST"] == "unix:///run/d.sock"
    assert "PATH" in options["env"]
    assert options["stdin"] == subprocess.DEVNULL
    assert options["start_new_session"] is True


@pytest.mark.parametrize("tries", [1, 2, 3, 10])
async def test_what_may_pass_is_tried_as_often_as_the_setting_says(client: Client, tries: int) -> None:
    client.children = [ended(1, PASSING) for _ in range(tries)]
    with pytest.raises(SubstrateError, match="TLS handshake timeout"):
        await client.compose(docker_tries=tries).check()
    assert len(client.words) == tries
    client.children = [ended(1, PASSING) for _ in range(tries - 1)]
    await client.compose(docker_tries=tries).check()
    assert len(client.words) == 2 * tries
    assert (client.tries[0]["wait_initial"], client.tries[0]["wait_max"]) == (0.2, 5.0)


@pytest.mark.parametrize("said", ["TLS handshake timeout", "dial tcp: i/o timeout", "connection reset by peer", "connection refused", "Temporary failure in name resolution", "context deadline exceeded", "toomanyrequests: Too Many Requests", "unexpected EOF", "status 502 Bad", "status 503 x", "status 504 x"])  # fmt: skip
async def test_trouble_of_the_network_may_pass(client: Client, said: str) -> None:
    client.children = [ended(1, said.encode())]
    await client.compose(docker_tries=2).check()
    assert len(client.words) == 2


@pytest.mark.parametrize("said", ["no such service: x", "status 501 x", "status 505 x", "yaml: line 3: bad", "", "No such image: x\nconnection refused"])  # fmt: skip
async def test_what_will_not_pass_is_not_tried_again(client: Client, said: str) -> None:
    client.children = [ended(1, said.encode())]
    with pytest.raises(SubstrateError):
        await client.compose(docker_tries=3).check()
    assert len(client.words) == 1


async def test_a_client_that_does_not_answer_is_ended_with_all_of_its_group_and_tried_again(
    client: Client,
) -> None:
    silent = Child(None)
    client.children = [silent]
    await client.compose(docker_tries=2, docker_timeout_s=0.01).check()
    assert client.killed == [(4242, signal.SIGKILL)]
    assert silent.waited
    assert len(client.words) == 2
    client.children = [Child(None), Child(None)]
    with pytest.raises(SubstrateError, match=r"^dk compose … config --quiet: no answer in 0 s$"):
        await client.compose(docker_tries=2, docker_timeout_s=0.01).check()


async def test_a_call_that_is_cut_short_leaves_no_client_behind(client: Client) -> None:
    client.children = [Child(None)]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await client.compose(docker_timeout_s=60).check()
    assert client.killed == [(4242, signal.SIGKILL)]
    await client.compose().check()
    assert len(client.killed) == 1, "one that has ended is not killed: its number may be another's"


async def test_a_client_whose_child_holds_its_pipes_is_given_up_all_the_same(tmp_path: Path) -> None:
    """As `docker compose` is: the client is one process and the plugin another."""
    program = tmp_path / "docker"
    program.write_text("#!/bin/sh\nsleep 50 &\nwait\n")
    program.chmod(0o755)
    settings = MutatorSettings(docker=str(program), docker_timeout_s=0.2, docker_tries=1)
    async with asyncio.timeout(10):
        with pytest.raises(SubstrateError, match="no answer in 0 s"):
            await DockerCompose(settings, "p", tmp_path / "f").check()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("x\nError: No such image: a:1\ny", "image missing (Error: No such image: a:1)"),
        ("pull access denied for a", "image missing (pull access denied for a)"),
        ("manifest for a:1 not found", "image missing (manifest for a:1 not found)"),
        ("repository does not exist", "image missing (repository does not exist)"),
        ("listen tcp: ADDRESS already in use", "port taken (listen tcp: ADDRESS already in use)"),
        ("Bind for 0.0.0.0:80 failed", "port taken (Bind for 0.0.0.0:80 failed)"),
        ("permission denied while trying to connect to docker", "the Docker engine cannot be reached: is it running, and may this user use it (permission denied while trying to connect to docker)"),
        ("unknown shorthand flag: 'p' in -p", "the compose plugin is missing: install docker-compose-plugin (unknown shorthand flag: 'p' in -p)"),
        ("first\n\n  last  \n\n", "dk compose … config --quiet: last"),
        ("", "dk compose … config --quiet: exit code 3"),
    ],
)  # fmt: skip
async def test_what_an_error_means(client: Client, said: str, told: str) -> None:
    client.children = [ended(3, said.encode())]
    with pytest.raises(SubstrateError) as caught:
        await client.compose().check()
    assert str(caught.value) == told


async def test_what_the_client_says_is_bounded_whatever_it_says(client: Client) -> None:
    client.children = [ended(1, b"\xff" * 5000)]
    with pytest.raises(SubstrateError) as caught:
        await client.compose().check()
    assert str(caught.value) == "dk compose … config --quiet: " + "\ufffd" * 300
    client.children = [ended(1, b"no such image " + b"x" * 5000)]
    with pytest.raises(SubstrateError) as caught:
        await client.compose().check()
    assert len(str(caught.value)) == len("image missing ()") + 300
    client.children = [ended(1, b"no such image\n" + b"x" * docker._MAX_OUTPUT)]
    with pytest.raises(SubstrateError, match="config --quiet: x"):
        await client.compose().check()
    client.children = [ended(1, b"")]
    with pytest.raises(SubstrateError) as caught:
        await client.compose().up(["a" * 300])
    assert len(str(caught.value)) == 200 + len(": exit code 1")
    assert docker._MAX_OUTPUT == 1 << 20


async def test_a_client_that_is_not_there_is_told_once(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*words: str, **options: Any) -> Child:
        client.words.append(words)
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(docker.asyncio, "create_subprocess_exec", refuse)
    with pytest.raises(SubstrateError, match=r"^dk: No such file or directory$"):
        await client.compose().check()
    assert len(client.words) == 1


async def test_only_containers_that_run_count(client: Client) -> None:
    rows = [{"Service": s, "State": state} for s, state in (("a", "running"), ("b", "exited"), ("c", "restarting"), ("d", "paused"), ("e", "created"), ("f", "RUNNING"), ("g", ""))]  # fmt: skip
    for out in (json.dumps(rows), "\n".join(map(json.dumps, rows)) + "\n", f" {json.dumps(rows)}\n", json.dumps([*rows, 5, None])):  # fmt: skip
        client.children = [ended(0, out=out.encode())]
        assert await client.compose().running() == {"a"}, out
    for out in ("{", "[", "not json"):
        client.children = [ended(0, out=out.encode())]
        with pytest.raises(SubstrateError, match="gave no JSON"):
            await client.compose().running()
    client.children = [ended(0, out=b"")]
    assert await client.compose().running() == set()
