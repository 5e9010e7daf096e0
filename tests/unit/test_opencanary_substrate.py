"""Decoys as processes, without one: who is stopped when, what comes back, what the new one is given; /proc; set-up."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from decnet.config import MutatorSettings, Settings
from decnet.errors import SubstrateError
from decnet.mutator import setup
from decnet.mutator.substrate import opencanary, process
from decnet.mutator.substrate.base import Target
from decnet.mutator.substrate.opencanary import OpenCanarySubstrate, missing_part
from decnet.services import load_catalogue

CATALOGUE = load_catalogue()
WEB = Target("web", "lab", "127.0.0.1", ("http", "ftp", "smb", "sip"), {"http": 18080, "ftp": 12121})
HTTP, FTP, SIP = ("tcp", "127.0.0.1", 18080), ("tcp", "127.0.0.1", 12121), ("udp", "127.0.0.1", 5060)


class Host:
    """The host's processes: pid to mark and sockets. ``deaf`` ignore SIGTERM, ``foreign`` belong to somebody else."""

    def __init__(self) -> None:
        self.living: dict[int, tuple[str, set[process.Socket]]] = {}
        self.signals: list[tuple[int, signal.Signals]] = []
        self.spawned: list[dict[str, Any]] = []
        self.broken: list[str] = []
        self.refused: dict[process.Socket, str] = {}
        self.asked: list[process.Socket] = []
        self.deaf: set[int] = set()
        self.immortal: set[int] = set()
        self.foreign: set[int] = set()
        self.now = 0.0
        self.next_pid = 100

    def runs(self, pid: int, mark: str) -> bool:
        return pid in self.living and self.living[pid][0] == mark

    def find(self, mark: str) -> list[int]:
        return [pid for pid in self.living if self.runs(pid, mark)]

    def listening(self, pid: int) -> set[process.Socket]:
        return set(self.living[pid][1]) if pid in self.living else set()

    def refusal(self, at: process.Socket) -> str:
        self.asked.append(at)
        return self.refused.get(at, "")

    def kill(self, pid: int, sign: signal.Signals) -> None:
        if pid in self.foreign:
            raise PermissionError
        self.signals.append((pid, sign))
        if pid not in self.immortal and (sign == signal.SIGKILL or pid not in self.deaf):
            if pid not in self.living:
                raise ProcessLookupError
            del self.living[pid]

    def start(self, config: dict[str, Any], mark: str) -> int:
        """As OpenCanary does: opens what its configuration enables; ``broken`` tells how the next ones fail."""
        self.next_pid += 1
        at = config["device.listen_addr"]
        modules = [
            key.partition(".")[0] for key, value in config.items() if key.endswith(".enabled") and value
        ]
        sockets = {("udp" if m == "sip" else "tcp", at, config[f"{m}.port"]) for m in modules}
        how = self.broken.pop(0) if self.broken else ""
        if how != "dies":
            self.living[self.next_pid] = (mark, set() if how == "mute" else sockets)
        return self.next_pid

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host()
    for name in ("runs", "find", "listening", "refusal"):
        monkeypatch.setattr(process, name, getattr(made, name))
    monkeypatch.setattr(process, "bury", lambda pid: None)
    monkeypatch.setattr(opencanary.os, "kill", made.kill)

    def spawn(program: str, arguments: list[str], surroundings: dict[str, str], **how: Any) -> int:
        made.spawned.append({"program": program, "arguments": arguments, "surroundings": surroundings, **how})
        mark = arguments[-1]
        return made.start(json.loads((Path(mark).parent / "opencanary.conf").read_text()), mark)

    monkeypatch.setattr(opencanary.os, "posix_spawn", spawn)

    class Asyncio:
        """The substrate's own clock and pauses."""

        sleep = made.sleep

        @staticmethod
        def get_running_loop() -> Any:
            return made

        @staticmethod
        async def to_thread(call: Any, *arguments: Any) -> Any:
            return call(*arguments)

    monkeypatch.setattr(opencanary, "asyncio", Asyncio)
    return made


@pytest.fixture
def made(host: Host, tmp_path: Path) -> OpenCanarySubstrate:
    environment = tmp_path / "env"
    (environment / "bin").mkdir(parents=True)
    for name in ("python", "twistd", "opencanary.tac"):
        (environment / "bin" / name).write_text("")
    settings = Settings(
        data_dir=tmp_path / "data",
        mutator=MutatorSettings(
            opencanary_env=environment, start_timeout_s=2.0, decoy_log_bytes=70_000, decoy_log_files=2
        ),
    )
    return OpenCanarySubstrate(settings, CATALOGUE)


def home(tmp_path: Path) -> Path:
    return tmp_path / "data/fleet/decoys/web"


async def test_a_rotation_ends_the_old_process_and_starts_one_that_listens(
    made: OpenCanarySubstrate, host: Host
) -> None:
    await made.apply(WEB, ["http"])
    assert await made.observe(WEB) == ["http"]
    (first,) = host.living
    await made.apply(WEB, ["ftp", "sip"])
    assert host.signals == [(first, signal.SIGTERM)]
    assert await made.observe(WEB) == ["ftp", "sip"]
    assert len(host.living) == 1
    before = dict(host.living)
    await made.apply(WEB, ["sip", "ftp"])
    assert host.living == before, "what runs already is left alone"
    await made.remove(WEB)
    assert (host.living, await made.observe(WEB)) == ({}, [])
    await made.remove(WEB)


async def test_two_processes_of_one_decky_become_one(
    made: OpenCanarySubstrate, host: Host, tmp_path: Path
) -> None:
    await made.apply(WEB, ["http"])
    mark = str(home(tmp_path) / "decoy.tac")
    host.living[7] = (mark, {FTP})
    (home(tmp_path) / "decoy.pid").unlink()
    assert await made.observe(WEB) == ["http", "ftp"]
    await made.apply(WEB, ["http", "ftp"])
    assert len(host.living) == 1
    assert 7 not in host.living


async def test_only_new_ports_are_asked_for_and_a_taken_one_leaves_the_old_decoy_alone(
    made: OpenCanarySubstrate, host: Host
) -> None:
    await made.apply(WEB, ["http"])
    before, host.asked = dict(host.living), []
    host.refused[FTP] = "Address already in use"
    with pytest.raises(
        SubstrateError, match=r"^tcp port 12121 of 127\.0\.0\.1 cannot be had: Address already in use$"
    ):
        await made.apply(WEB, ["http", "ftp"])
    assert host.asked == [FTP], "its own port is no reason against it"
    assert (host.living, host.signals) == (before, [])


async def test_the_old_decoy_comes_back_when_the_new_one_ends_at_once(
    made: OpenCanarySubstrate, host: Host, tmp_path: Path
) -> None:
    await made.apply(WEB, ["http"])
    host.broken = ["dies"]
    with pytest.raises(SubstrateError, match=r"^the decoy ended at once: it left no reason$"):
        await made.apply(WEB, ["ftp"])
    assert await made.observe(WEB) == ["http"]
    assert json.loads((home(tmp_path) / "opencanary.conf").read_text())["http.enabled"] is True


async def test_the_old_decoy_comes_back_when_the_new_one_opens_nothing_in_time(
    made: OpenCanarySubstrate, host: Host
) -> None:
    await made.apply(WEB, ["http"])
    host.broken, host.now = ["mute"], 0.0
    with pytest.raises(SubstrateError, match=r"^tcp 12121 not open after 2 s: it left no reason$"):
        await made.apply(WEB, ["ftp"])
    assert 2.0 < host.now < 2.2, "as long as the setting says"
    assert await made.observe(WEB) == ["http"]
    assert len(host.living) == 1, "the mute one is gone"


async def test_when_neither_comes_up_both_reasons_are_told(made: OpenCanarySubstrate, host: Host) -> None:
    await made.apply(WEB, ["http"])
    host.broken = ["dies", "dies"]
    with pytest.raises(
        SubstrateError, match=r"ended at once: .*; and the old decoy did not come back: the decoy ended"
    ):
        await made.apply(WEB, ["ftp"])


async def test_a_first_start_that_fails_brings_nothing_back(
    made: OpenCanarySubstrate, host: Host, tmp_path: Path
) -> None:
    await made.apply(WEB, ["http"])
    await made.remove(WEB)
    host.broken = ["dies"]
    with pytest.raises(SubstrateError):
        await made.apply(WEB, ["ftp"])
    assert host.living == {}, "a configuration of a decoy that did not run is nothing to go back to"
    assert len(host.spawned) == 2


async def test_who_does_not_end_on_sigterm_is_killed_after_its_grace(
    made: OpenCanarySubstrate, host: Host
) -> None:
    await made.apply(WEB, ["http"])
    (pid,) = host.living
    host.deaf, host.now = {pid}, 0.0
    await made.remove(WEB)
    assert host.signals == [(pid, signal.SIGTERM), (pid, signal.SIGKILL)]
    assert 5.0 <= host.now < 5.1
    assert opencanary.STOP_S == 5.0


async def test_who_does_not_end_at_all_or_is_anothers_is_an_error(
    made: OpenCanarySubstrate, host: Host
) -> None:
    await made.apply(WEB, ["http"])
    (pid,) = host.living
    host.immortal = {pid}
    with pytest.raises(SubstrateError, match=rf"the decoy \(pid {pid}\) does not end"):
        await made.remove(WEB)
    host.foreign = {pid}
    with pytest.raises(SubstrateError, match=rf"the decoy \(pid {pid}\) belongs to another user"):
        await made.remove(WEB)


async def test_a_number_that_another_process_has_now_is_never_signalled(
    made: OpenCanarySubstrate, host: Host, tmp_path: Path
) -> None:
    await made.apply(WEB, ["http"])
    (pid,) = list(host.living)
    host.living = {pid: ("another program", {HTTP})}
    assert await made.observe(WEB) == []
    await made.remove(WEB)
    assert host.signals == []
    for text in ("", "x", "-1"):
        (home(tmp_path) / "decoy.pid").write_text(text)
        host.living[9] = (str(home(tmp_path) / "decoy.tac"), {FTP})
        assert await made.observe(WEB) == ["ftp"], "without the file every process is looked at"


async def test_what_listens_elsewhere_is_not_this_deckys_service(
    made: OpenCanarySubstrate, host: Host, tmp_path: Path
) -> None:
    mark = str(home(tmp_path) / "decoy.tac")
    host.living[5] = (
        mark,
        {("tcp", "0.0.0.0", 18080), ("tcp", "127.0.0.1", 12122), ("tcp", "127.0.0.1", 5060), FTP},
    )
    assert await made.observe(WEB) == ["ftp"]


async def test_a_service_it_cannot_play_is_refused_before_anything_is_touched(
    made: OpenCanarySubstrate, host: Host
) -> None:
    await made.apply(WEB, ["http"])
    for name in ("smb", "unheard-of"):
        with pytest.raises(SubstrateError, match=f"OpenCanary cannot play '{name}'"):
            await made.apply(WEB, [name])
    assert host.signals == []


async def test_a_missing_environment_is_told_before_the_old_decoy_ends(
    made: OpenCanarySubstrate, host: Host, tmp_path: Path
) -> None:
    await made.apply(WEB, ["http"])
    for name in ("opencanary.tac", "twistd", "python"):
        (tmp_path / "env/bin" / name).unlink()
        with pytest.raises(
            SubstrateError, match=rf"not installed \(.*/bin/{name} is missing\): run `decnet-tui fleet setup`"
        ):
            await made.apply(WEB, ["ftp"])
    assert (host.signals, await made.observe(WEB)) == ([], ["http"])


async def test_a_decoy_gets_only_what_it_needs(made: OpenCanarySubstrate, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setenv("DECNET_DB", "postgresql://me:hush@db/x")
    await made.apply(WEB, ["http"])
    (call,) = host.spawned
    env = tmp_path / "env/bin"
    assert call["surroundings"] == {
        "HOME": str(home(tmp_path)), "PATH": os.defpath, "TZ": "UTC", "LANG": "C.UTF-8", "DECOY_TAC": str(env / "opencanary.tac"),
    }  # fmt: skip
    assert call["program"] == str(env / "python")
    assert call["arguments"] == [
        str(env / "python"), str(env / "twistd"), "--nodaemon", "--pidfile=", "--umask=077", "-y", str(home(tmp_path) / "decoy.tac"),
    ]  # fmt: skip
    assert (call["setsid"], call["setsigmask"], call["setsigdef"]) == (True, [], [signal.SIGPIPE])
    null, words, errors = call["file_actions"]
    assert null[1:4] == (0, os.devnull, os.O_RDONLY)
    assert words[1:] == (1, str(home(tmp_path) / "decoy.out"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    assert errors == (os.POSIX_SPAWN_DUP2, 1, 2)
    for path in (home(tmp_path), home(tmp_path) / "tls", tmp_path / "data/fleet/logs"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
    for name in ("opencanary.conf", "decoy.tac", "decoy.pid"):
        assert stat.S_IMODE((home(tmp_path) / name).stat().st_mode) == 0o600, name


async def test_its_configuration_enables_what_was_chosen_and_bounds_its_log(
    made: OpenCanarySubstrate, tmp_path: Path
) -> None:
    await made.apply(WEB, ["http", "sip"])
    config = json.loads((home(tmp_path) / "opencanary.conf").read_text())
    assert [key for key in config if key.endswith(".enabled")] == ["http.enabled", "sip.enabled"]
    assert (config["device.node_id"], config["device.listen_addr"]) == ("web", "127.0.0.1")
    assert (config["http.port"], config["sip.port"], config["http.skin"]) == (18080, 5060, "basicLogin")
    (handler,) = config["logger"]["kwargs"]["handlers"].values()
    assert handler == {
        "class": "logging.handlers.RotatingFileHandler", "filename": str(tmp_path / "data/fleet/logs/web.json"),
        "maxBytes": 70_000, "backupCount": 2,
    }  # fmt: skip


async def test_a_process_that_cannot_be_started_is_a_reason(
    made: OpenCanarySubstrate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(opencanary.os, "posix_spawn", refuse)
    with pytest.raises(SubstrateError, match=r"^the decoy cannot be started: Permission denied$"):
        await made.apply(WEB, ["http"])


def test_the_last_words_are_the_last_error_and_bounded(tmp_path: Path) -> None:
    at = opencanary._Home(tmp_path, tmp_path / "log")
    assert OpenCanarySubstrate._last_words(at) == "it left no reason"
    (tmp_path / "decoy.out").write_text("one\n\n two \n")
    assert OpenCanarySubstrate._last_words(at) == "two"
    (tmp_path / "decoy.log").write_text("KeyError: a\nCouldn't listen\nbye\n")
    assert OpenCanarySubstrate._last_words(at) == "Couldn't listen"
    (tmp_path / "decoy.log").write_bytes(b"Error\n" + b"\xff" * 4090 + b"\n")
    assert OpenCanarySubstrate._last_words(at) == "\ufffd" * 300
    (tmp_path / "decoy.log").write_bytes(b"Error\n" + b"x" * 4089 + b"\n")
    assert OpenCanarySubstrate._last_words(at) == "Error", "the last 4,096 bytes count"


# --- /proc ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(process, "_PROC", tmp_path)
    return tmp_path


def command(proc: Path, pid: int, *words: str) -> None:
    (proc / str(pid)).mkdir(exist_ok=True)
    (proc / str(pid) / "cmdline").write_bytes(b"\0".join(word.encode() for word in words) + b"\0")


def test_a_process_is_known_by_a_whole_argument(proc: Path) -> None:
    command(proc, 10, "python", "/d/a/decoy.tac")
    command(proc, 11, "vi", "/d/a/decoy.tac.old")
    command(proc, 12, "sh", "-c", "cat /d/a/decoy.tac")
    (proc / "self").mkdir()
    (proc / "13").mkdir()
    assert process.find("/d/a/decoy.tac") == [10]
    assert process.runs(10, "/d/a/decoy.tac")
    assert not process.runs(11, "/d/a/decoy.tac")
    assert not process.runs(13, "/d/a/decoy.tac")
    assert not process.runs(99, "/d/a/decoy.tac")


def row(address: str, state: str, inode: str) -> str:
    return f"   0: {address} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  0  0 {inode} 1 0 100 0 0 10 0\n"


def test_where_a_process_listens_is_what_its_own_sockets_say(proc: Path) -> None:
    command(proc, 10, "x")
    (proc / "10/fd").mkdir()
    (proc / "10/net").mkdir()
    for number, to in enumerate(
        ["socket:[7]", "socket:[8]", "socket:[9]", "socket:[11]", "pipe:[12]", "/dev/null"]
    ):
        (proc / "10/fd" / str(number)).symlink_to(to)
    head = "  sl  local_address rem_address   st\n"
    tcp = row("0100007F:1F90", "0A", "7") + row("0100007F:1F91", "01", "8") + row("0100007F:1F92", "0A", "99") + row("0100007F:1F93", "0A", "12")  # fmt: skip
    (proc / "10/net/tcp").write_text(head + tcp + "short line\n")
    (proc / "10/net/tcp6").write_text(head + row("00000000000000000000000001000000:0050", "0A", "9"))
    (proc / "10/net/udp").write_text(head + row("00000000:13C4", "07", "11"))
    assert process.listening(10) == {("tcp", "127.0.0.1", 8080), ("tcp", "::1", 80), ("udp", "0.0.0.0", 5060)}
    assert process.listening(11) == set()
    (proc / "10/net/tcp").write_bytes(b"\xff\xff")
    assert ("tcp", "127.0.0.1", 8080) not in process.listening(10)


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen(1)
        yield holder.getsockname()[1]


def test_why_a_socket_cannot_be_had(taken: int) -> None:
    assert process.refusal(("tcp", "127.0.0.1", taken)) == "Address already in use"
    assert process.refusal(("tcp", "127.0.0.2", taken)) == ""
    assert process.refusal(("udp", "127.0.0.1", taken)) == "", "another transport is another port"
    assert process.refusal(("tcp", "192.0.2.1", taken)) == "Cannot assign requested address"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        assert process.refusal(("udp", "127.0.0.1", port)) == "Address already in use"


def test_burying_what_is_no_child_is_no_harm() -> None:
    process.bury(1)
    process.bury(2**22 + 5)


# --- set-up --------------------------------------------------------------------------------------------------------


class Steps:
    """Takes the place of venv and pip: makes the files, or fails as told."""

    def __init__(self, environment: Path) -> None:
        self.environment, self.words, self.limits = environment, [], []  # type: ignore[var-annotated]
        self.answer: Any = None
        self.lacks = ""

    def run(self, arguments: list[str], **how: Any) -> subprocess.CompletedProcess[str]:
        self.words.append(arguments)
        self.limits.append(how["timeout"])
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer:
            return self.answer  # type: ignore[no-any-return]
        (self.environment / "bin").mkdir(parents=True, exist_ok=True)
        for name in {"python", "twistd", "opencanary.tac"} - {self.lacks}:
            (self.environment / "bin" / name).write_text("")
        return subprocess.CompletedProcess(arguments, 0, "", "")


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Steps:
    made = Steps(tmp_path / "opencanary-env")
    monkeypatch.setattr(setup.subprocess, "run", made.run)
    return made


def test_the_environment_is_made_once_and_again_for_another_version(steps: Steps, tmp_path: Path) -> None:
    settings = MutatorSettings()
    assert setup.make_environment(settings, tmp_path) == (steps.environment, True)
    assert [words[1:3] for words in steps.words] == [["-m", "venv"], ["-m", "pip"]]
    assert steps.words[1][-1] == "opencanary==0.9.10"
    assert steps.limits == [900.0, 900.0]
    assert setup.installed_version(steps.environment) == "0.9.10"
    (steps.environment / "old").write_text("")
    assert setup.make_environment(settings, tmp_path) == (steps.environment, False)
    assert setup.make_environment(MutatorSettings(opencanary_version="0.9.9"), tmp_path)[1] is True
    assert not (steps.environment / "old").exists(), "another version starts from nothing"
    (steps.environment / "bin/twistd").unlink()
    assert setup.installed_version(steps.environment) is None
    assert setup.make_environment(MutatorSettings(opencanary_version="0.9.9"), tmp_path)[1] is True


def test_an_environment_that_was_not_finished_does_not_count(steps: Steps, tmp_path: Path) -> None:
    steps.lacks = "twistd"
    with pytest.raises(SubstrateError, match=r"OpenCanary was installed, but .*twistd is missing"):
        setup.make_environment(MutatorSettings(), tmp_path)
    assert not (steps.environment / setup.MARK).exists()
    assert setup.installed_version(steps.environment) is None


def test_an_environment_of_somebody_else_is_only_looked_at(steps: Steps, tmp_path: Path) -> None:
    own = tmp_path / "own"
    settings = MutatorSettings(opencanary_env=own)
    with pytest.raises(SubstrateError, match=r"^mutator\.opencanary_env: .*python is missing$"):
        setup.make_environment(settings, tmp_path)
    (own / "bin").mkdir(parents=True)
    for name in ("python", "twistd", "opencanary.tac"):
        (own / "bin" / name).write_text("")
    assert setup.make_environment(settings, tmp_path) == (own, False)
    assert steps.words == []
    assert missing_part(own) == ""


def test_a_step_that_fails_says_its_last_words(steps: Steps, tmp_path: Path) -> None:
    steps.answer = subprocess.CompletedProcess([], 1, "out", "one\n\ntwo\nthree\nfour\n")
    with pytest.raises(SubstrateError, match=r"^-m venv failed: two \| three \| four$"):
        setup.make_environment(MutatorSettings(), tmp_path)
    steps.answer = subprocess.CompletedProcess([], 3, "", "")
    with pytest.raises(SubstrateError, match=r"^-m venv failed: 3$"):
        setup.make_environment(MutatorSettings(), tmp_path)
    steps.answer = subprocess.CompletedProcess([], 1, "x" * 2000, "")
    with pytest.raises(SubstrateError) as caught:
        setup.make_environment(MutatorSettings(), tmp_path)
    assert str(caught.value) == "-m venv failed: " + "x" * 500
    for trouble in (subprocess.TimeoutExpired("venv", 900), OSError(12, "Cannot allocate memory")):
        steps.answer = trouble
        with pytest.raises(SubstrateError, match=r"^-m venv: "):
            setup.make_environment(MutatorSettings(), tmp_path)
