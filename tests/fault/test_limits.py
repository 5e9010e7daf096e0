"""A host that gives too little: files, memory, a home, a file system that takes nothing, no /proc. One line, and its exit code."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from decnet.db.engine import translated
from decnet.engine import MIN_FILES
from decnet.errors import DatabaseError
from tests.cowriegen import write_log
from tests.programkit import PROGRAM, listed, surroundings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
UNSHARE = shutil.which("unshare")
MOUNTS = (
    UNSHARE is not None
    and os.geteuid() == 0
    and subprocess.run([UNSHARE, "-m", "true"], check=False).returncode == 0
)
own_mounts = pytest.mark.skipif(not MOUNTS, reason="needs mounts of its own")


def run(
    *words: str | Path,
    limit: Callable[[], None] | None = None,
    env: Mapping[str, str] | None = None,
    program: tuple[str, ...] = (PROGRAM,),
) -> subprocess.CompletedProcess[bytes]:
    """A command to its end, with a limit on what it may have."""
    return subprocess.run(
        [*program, *map(str, words)], stdin=subprocess.DEVNULL, capture_output=True, timeout=120,
        preexec_fn=limit, env=surroundings() if env is None else env, check=False,
    )  # fmt: skip


def one_line(done: subprocess.CompletedProcess[bytes], code: int) -> str:
    """The error, which is the one line that is no line of the log."""
    said = done.stderr.decode().splitlines()
    assert done.returncode == code, said[-5:]
    assert not any("Traceback" in line for line in said)
    (line,) = [line for line in said if line.startswith("error: ")]
    assert line == said[-1]
    return line


def files(soft: int, hard: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def engine(log: Path, data: Path) -> list[str | Path]:
    return ["--headless", "--until-idle", "0.5", "--sensor", f"cowrie={log}", "--data-dir", data]


@pytest.mark.fault(
    fault="40 open files at most",
    guard="files are opened one after the other and shut again",
    control="test_too_few_open_files_are_one_line",
    figure="40 and 32 are enough for a log of 300 lines, all of it stored",
)
@pytest.mark.parametrize(("soft", "hard"), [(40, 40), (MIN_FILES, MIN_FILES), (12, 4096)])
def test_few_open_files_are_enough(tmp_path: Path, soft: int, hard: int) -> None:
    told = write_log(tmp_path / "cowrie.json", 300, 3)
    done = run(*engine(tmp_path / "cowrie.json", tmp_path / "data"), limit=files(soft, hard))
    assert done.returncode == 0, done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert len(listed("sessions", tmp_path / "data")) == len(told.sessions)


def test_too_few_open_files_are_one_line(tmp_path: Path) -> None:
    write_log(tmp_path / "cowrie.json", 30, 3)
    few = MIN_FILES - 1
    done = run(*engine(tmp_path / "cowrie.json", tmp_path / "data"), limit=files(few, few))
    assert (
        one_line(done, 1)
        == f"error: this process may open {few} files, and needs {MIN_FILES} at least: see `ulimit -n`"
    )


@pytest.mark.fault(
    fault="300 MB of address space",
    guard="what the bus server says past its log is read when it ends",
    control="mutant bus-server-last-words-lost",
    figure="exit 1, one line that says memory",
)
def test_too_little_memory_for_the_bus_is_one_line(tmp_path: Path) -> None:
    def little() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (300 * 10**6, 300 * 10**6))

    line = one_line(
        run("--headless", "--until-idle", "0.5", "--data-dir", tmp_path / "data", limit=little), 1
    )
    assert "memory" in line


HOMELESS = """
import os, pwd, sys
os.environ.pop("HOME", None)
def nobody(uid):
    raise KeyError(uid)
pwd.getpwuid = nobody
from decnet_tui.cli.main import run
run()
"""
"""A user of a container, who stands in no file."""


@pytest.mark.fault(
    fault="no HOME, and a user whom nobody knows",
    guard="a data directory has to be named then; nothing else needs a home",
    control="mutant config-nobodys-home",
    figure="exit 2, one line that names --data-dir; works with it",
)
@pytest.mark.parametrize("words", [["--headless"], ["tags"], ["doctor"], ["tag", "-"]])
def test_a_user_without_a_home_is_told_to_name_a_directory(words: list[str]) -> None:
    env = {k: v for k, v in surroundings().items() if not k.startswith("XDG_")}
    line = one_line(run(*words, env=env, program=(sys.executable, "-c", HOMELESS)), 2)
    assert "--data-dir" in line


@pytest.mark.fault(
    fault="no HOME, with a data directory that is named",
    guard="the cache is done without; a ~ is refused",
    control="itself",
    figure="works; exit 2 for a ~",
)
def test_a_user_without_a_home_works_in_a_directory(tmp_path: Path) -> None:
    env = {k: v for k, v in surroundings().items() if not k.startswith("XDG_")}
    homeless = (sys.executable, "-c", HOMELESS)
    done = run(
        "--headless", "--until-idle", "0.2", "--data-dir", tmp_path / "data", env=env, program=homeless
    )
    assert done.returncode == 0, done.stderr.decode()
    done = run("tag", "-", "--data-dir", tmp_path / "none", env=env, program=homeless)
    assert done.returncode == 0, done.stderr.decode()
    line = one_line(
        run(
            "--headless",
            "--sensor",
            "cowrie=~/x.json",
            "--data-dir",
            tmp_path / "data",
            env=env,
            program=homeless,
        ),
        2,
    )
    assert "whole path" in line


@pytest.mark.fault(
    fault="no terminal",
    guard="lines instead of a screen",
    control="itself",
    figure="workers said ok in lines; SIGINT ends it without a traceback",
)
def test_a_console_without_a_terminal_says_lines(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        process = subprocess.Popen(
            [PROGRAM, "--data-dir", str(tmp_path / "data")], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            env={**surroundings(), "TERM": ""}, start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while b"ttp: ok" not in (tmp_path / "out").read_bytes():
            assert process.poll() is None, (tmp_path / "out").read_text()
            assert time.monotonic() < deadline, (tmp_path / "out").read_text()
            time.sleep(0.1)
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(30)
    assert code in (0, 130), (tmp_path / "out").read_text()
    assert b"Traceback" not in (tmp_path / "out").read_bytes()
    assert b"\x1b" not in (tmp_path / "out").read_bytes()


@own_mounts
@pytest.mark.fault(
    fault="a read-only file system under the data directory",
    guard="the place and the reason are named",
    control="mutant db-shut-file-without-a-reason",
    figure="exit 1 and one line from the engine and from each of 4 commands",
)
def test_a_read_only_file_system_is_one_line(tmp_path: Path) -> None:
    data, place = tmp_path / "data", tmp_path / "mount"
    place.mkdir()
    assert run("--headless", "--until-idle", "0.2", "--data-dir", data).returncode == 0
    commands = (
        "--headless --until-idle 0.2",
        "tags",
        "workers",
        "rules disable R0001 --for 1h",
        "export csv -o -",
    )
    mounted = f"mount -o bind {data} {place} && mount -o remount,ro,bind {place} && exec {PROGRAM} $0 --data-dir {place}"
    for words in commands:
        line = one_line(run("-m", "sh", "-c", mounted.replace("$0", words), program=(str(UNSHARE),)), 1)
        assert "ead-only file system" in line or "its file system is read-only" in line, (words, line)


@own_mounts
@pytest.mark.fault(
    fault="a host without /proc",
    guard="what is read there is only ever more precise",
    control="itself",
    figure="an engine reads all, and commands answer",
)
def test_a_host_without_proc_is_enough(tmp_path: Path) -> None:
    told = write_log(tmp_path / "cowrie.json", 60, 3)
    data = tmp_path / "data"
    words = " ".join(map(str, engine(tmp_path / "cowrie.json", data)))
    hidden = f"mount -t tmpfs none /proc && {PROGRAM} {words} && exec {PROGRAM} workers --data-dir {data}"
    done = run("-m", "sh", "-c", hidden, program=(str(UNSHARE),))
    assert done.returncode == 0, done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert b"ttp " in done.stdout
    assert len(listed("sessions", data)) == len(told.sessions)


@pytest.mark.fault(
    fault="a database file that cannot be opened",
    guard="the place is looked at, since SQLite does not say why",
    control="mutant db-shut-file-without-a-reason",
    figure="named with the reason",
)
def test_a_file_that_sqlite_cannot_open_is_named_with_the_reason(tmp_path: Path) -> None:
    import sqlite3

    from sqlalchemy.exc import OperationalError

    shut = OperationalError("x", {}, sqlite3.OperationalError("unable to open database file"))
    with (
        pytest.raises(DatabaseError, match=r"gone/x.sqlite cannot be opened: No such file or directory"),
        translated(tmp_path / "gone" / "x.sqlite"),
    ):
        raise shut
    with (
        pytest.raises(DatabaseError, match=r"x.sqlite cannot be opened: SQLite does not say why"),
        translated(tmp_path / "x.sqlite"),
    ):
        raise shut
