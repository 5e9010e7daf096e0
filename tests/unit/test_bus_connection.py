"""The connection file: private, whole, of a live engine, and removed by its owner alone."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from decnet import processes
from decnet.bus import connection as subject
from decnet.bus.connection import (
    MAX_FILE_BYTES,
    Connection,
    connection_path,
    read_connection,
    remove_connection,
    shown_url,
    write_connection,
    write_private,
)
from decnet.config import BusSettings
from decnet.processes import process_alive, process_mark

GOOD = Connection("nats://127.0.0.1:1", "sqlite:///a", token="secret")


def rewrite(data_dir: Path, **fields: Any) -> None:
    """A connection file with other values than this process would write."""
    connection_path(data_dir).write_text(json.dumps(asdict(GOOD) | fields), "utf-8")


def kill_that_raises(error: type[OSError] | type[OverflowError]) -> Callable[[int, int], None]:
    def kill(pid: int, number: int) -> None:
        assert number == 0
        raise error

    return kill


def test_a_process_of_another_user_is_alive_and_one_that_is_gone_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert process_alive(os.getpid())
    monkeypatch.setattr(subject.os, "kill", kill_that_raises(ProcessLookupError))
    assert not process_alive(os.getpid())
    monkeypatch.setattr(subject.os, "kill", kill_that_raises(PermissionError))
    assert process_alive(2**22 + 1)
    monkeypatch.setattr(subject.os, "kill", kill_that_raises(OverflowError))
    assert process_alive(2**70)


def test_a_process_that_ended_and_is_not_collected_is_not_alive() -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.read()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not process_alive(child.pid)


def test_a_process_whose_name_looks_like_a_state_is_alive() -> None:
    name = Path("/proc/self/comm")
    before = name.read_text("ascii")
    try:
        name.write_text("a) Z 9", "ascii")
        assert process_alive(os.getpid())
    finally:
        name.write_text(before, "ascii")


def test_without_proc_a_process_that_takes_signals_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (OSError(), IndexError()):

        def nothing(pid: int, error: Exception = error) -> list[str]:
            raise error

        monkeypatch.setattr(processes, "_stat", nothing)
        assert process_alive(os.getpid())
        assert process_mark(os.getpid()) == ""


def test_the_mark_tells_boot_and_start_of_a_process() -> None:
    started = Path("/proc/self/stat").read_text("ascii").rpartition(")")[2].split()[19]
    boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    assert process_mark(os.getpid()) == f"{boot}:{started}" == GOOD.mark
    assert process_mark(1) != GOOD.mark
    assert process_mark(2**22 + 1) == ""


def test_a_process_id_that_is_used_again_is_no_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewrite(tmp_path, mark="another boot:1")
    assert read_connection(tmp_path) is None
    rewrite(tmp_path, mark="")
    assert read_connection(tmp_path) is not None
    rewrite(tmp_path)
    assert read_connection(tmp_path) == GOOD
    monkeypatch.setattr(subject, "process_mark", lambda pid: "")
    rewrite(tmp_path, mark="another boot:1")
    assert read_connection(tmp_path) is not None  # cannot be told: it counts


def test_an_engine_that_runs_needs_both_its_process_and_its_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewrite(tmp_path)
    monkeypatch.setattr(subject.os, "kill", kill_that_raises(ProcessLookupError))
    assert read_connection(tmp_path) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"pid": 0},
        {"pid": -1},
        {"pid": True},
        {"pid": "1"},
        {"pid": None},
        {"pid": 1.5},
        {"bus_url": None},
        {"db_url": 1},
        {"token": None},
        {"host": 3},
        {"credentials": []},
        {"credentials": {"user": 1}},
        {"mark": 7},
        {"mark": None},
    ],
)
def test_a_file_with_a_wrong_value_is_none(tmp_path: Path, fields: dict[str, Any]) -> None:
    rewrite(tmp_path, **fields)
    assert read_connection(tmp_path) is None


def test_what_a_later_version_adds_is_left_aside_and_what_is_needed_must_be_there(tmp_path: Path) -> None:
    rewrite(tmp_path, more={"a": 1})
    assert read_connection(tmp_path) == GOOD
    for name in ("bus_url", "db_url", "token", "host", "pid"):
        connection_path(tmp_path).write_text(json.dumps({k: v for k, v in asdict(GOOD).items() if k != name}))
        assert read_connection(tmp_path) is None


def test_a_file_of_64_kib_is_read_and_no_more_of_it(tmp_path: Path) -> None:
    write_connection(tmp_path, GOOD)
    text = connection_path(tmp_path).read_text("utf-8")
    connection_path(tmp_path).write_text(text + " " * (MAX_FILE_BYTES - len(text)) + "{", "utf-8")
    assert MAX_FILE_BYTES == 65_536
    assert read_connection(tmp_path) == GOOD
    connection_path(tmp_path).write_text(" " * MAX_FILE_BYTES + text, "utf-8")
    assert read_connection(tmp_path) is None


def test_a_file_that_cannot_be_read_is_none_and_not_an_error(tmp_path: Path) -> None:
    assert read_connection(tmp_path / "nowhere") is None
    connection_path(tmp_path).mkdir()
    assert read_connection(tmp_path) is None


def test_a_private_file_is_private_from_its_first_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    draft = tmp_path / f".secret.{os.getpid()}"
    draft.write_text("left over by a process that died")
    draft.chmod(0o666)
    seen: list[tuple[int, str, str]] = []
    replace = Path.replace

    def watched(self: Path, target: Path) -> Path:
        seen.append((stat.S_IMODE(self.stat().st_mode), self.read_text(), Path(target).read_text()))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    mask = os.umask(0)
    try:
        write_private(path, "new")
    finally:
        os.umask(mask)
    assert seen == [(0o600, "new", "old")]  # whole before it appears, and the old one whole until then
    assert (stat.S_IMODE(path.stat().st_mode), path.read_text()) == (0o600, "new")
    assert os.listdir(tmp_path) == ["secret"]


def test_a_draft_that_somebody_else_made_is_not_written_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "elsewhere"
    target.write_text("")
    unlink = Path.unlink

    def raced(self: Path, missing_ok: bool = False) -> None:
        unlink(self, missing_ok=True)
        self.symlink_to(target)

    monkeypatch.setattr(Path, "unlink", raced)
    with pytest.raises(FileExistsError):
        write_private(tmp_path / "secret", "new")
    assert target.read_text() == ""


def test_the_data_directory_is_made_for_its_owner_only(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        write_connection(tmp_path / "made", GOOD)
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "made").stat().st_mode) == 0o700


def test_only_its_own_file_is_removed(tmp_path: Path) -> None:
    remove_connection(tmp_path)
    for text in ("not JSON", "[]", json.dumps({"pid": os.getpid() + 1})):
        connection_path(tmp_path).write_text(text)
        remove_connection(tmp_path)
        assert connection_path(tmp_path).exists()
    write_connection(tmp_path, GOOD)
    remove_connection(tmp_path)
    assert not connection_path(tmp_path).exists()


def test_credentials_travel_but_are_not_shown() -> None:
    bus = BusSettings(
        url="nats://bus:4222",
        user="u",
        password=SecretStr("pass-word"),
        token=SecretStr("to-ken"),
        nkeys_seed=Path("seed"),
        tls_ca=Path("ca.pem"),
    )
    made = Connection.of(bus, "sqlite:///a")
    assert made.credentials == {
        "user": "u",
        "password": "pass-word",
        "nkeys_seed": "seed",
        "tls_ca": "ca.pem",
    }
    assert (made.token, made.host, made.pid) == ("to-ken", socket.gethostname(), os.getpid())
    assert "pass-word" not in repr(made)
    assert "to-ken" not in repr(made)
    assert made.bus_settings(BusSettings(stream="S")) == bus.model_copy(update={"stream": "S"})


def test_credentials_of_another_bus_do_not_stay() -> None:
    mine = BusSettings(user="mine", password=SecretStr("x"), token=SecretStr("y"))
    reached = GOOD.bus_settings(mine)
    assert (reached.user, reached.password, reached.url) == (None, None, GOOD.bus_url)
    assert reached.token == SecretStr("secret")
    assert Connection("nats://x:1", "").bus_settings(mine).token is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nats://127.0.0.1:4222", "nats://127.0.0.1:4222"), ("tls://eve:s3cret@h:1, nats://x:y@[::1]:2", "tls://h:1,nats://[::1]:2"),
        ("s3cret@h", "h"), ("nats://e:a%40b@c@h", "nats://h"), ("h:1", "h:1"), ("", ""),
    ],
)  # fmt: skip
def test_addresses_are_shown_without_log_ins(url: str, shown: str) -> None:
    assert shown_url(url) == shown
    assert "s3cret" not in repr(Connection(url, "postgresql://u:s3cret@db/x"))
