"""The console's budgets on a real pty, attached to a real NATS server that a publisher in another process feeds."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.natskit import PASSWORD, USER, nats_server
from tests.ptykit import Terminal, terminal

pytestmark = [pytest.mark.bench, pytest.mark.timeout(400)]

PUBLISHER = """
import asyncio, json, sys, time
import nats
async def main(url, user, password, rate):
    client = await nats.connect(url, user=user, password=password)
    started, sent = time.monotonic(), 0
    body = json.dumps({"v": 1, "id": "0" * 32, "topic": "x", "type": "t", "ts": 1.0, "payload": {
        "attacker_ip": "203.0.113.7", "bytes": 4711, "note": "x" * 120}}).encode()
    while True:
        due = int((time.monotonic() - started) * rate)
        for _ in range(due - sent):
            await client.publish("decky.web-07.traffic", body)
        sent = due
        await asyncio.sleep(0.02)
asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])))
"""


@contextmanager
def publisher(url: str, rate: float) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", PUBLISHER, url, USER, PASSWORD, str(rate)])
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def console(folder: Path, url: str, size: tuple[int, int]) -> Iterator[Terminal]:
    config = folder / "settings.yaml"
    config.write_text(f"bus: {{user: {USER}, password: {PASSWORD}}}\n", "utf-8")
    where = ("--attach", url, "--config", config, "--data-dir", folder / "data")
    with terminal(*where, size=size) as screen:
        screen.shows(" LIVE ", 60)
        yield screen


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100.0


def cpu_share(screen: Terminal, seconds: float) -> float:
    before, started = cpu_seconds(screen.child.pid), time.monotonic()
    while time.monotonic() - started < seconds:
        screen.read(0.2)
    return (cpu_seconds(screen.child.pid) - before) / (time.monotonic() - started)


def key_to_screen(screen: Terminal, presses: int) -> list[float]:
    """Seconds from a key to the frame that shows what it does, in ascending order."""
    taken = []
    for i in range(presses):
        wanted = "6*Workers" if i % 2 == 0 else "1*Traffic"
        screen.read(0.15)
        started = time.monotonic()
        screen.child.send("6" if i % 2 == 0 else "1")
        while wanted not in screen.lines[1]:
            screen.read(0.002)
            assert time.monotonic() - started < 10, screen.text
        taken.append(time.monotonic() - started)
    return sorted(taken)


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
def test_console_budgets(tmp_path: Path, size: tuple[int, int]) -> None:
    rows = []
    with nats_server(tmp_path / "nats") as url:
        started = time.monotonic()
        with console(tmp_path, url, size) as screen:
            rows.append(("first useful frame", time.monotonic() - started, 1.0, "s"))
            screen.press("1")
            rows.append(("CPU idle", 100 * cpu_share(screen, 8), 3.0, "%"))
            with publisher(url, 1000):
                screen.read(2)
                rows.append(("CPU at 1,000/s", 100 * cpu_share(screen, 8), 15.0, "%"))
            with publisher(url, 5000):
                screen.read(3)
                before = len(screen.raw)
                screen.read(0.1)
                began = time.monotonic()
                cpu_share(screen, 6)
                rate = (len(screen.raw) - before) / (time.monotonic() - began) / 1000
                rows.append(("output at 5,000/s", rate, 30.0 if size[0] == 80 else 100.0, "kB/s"))
                taken = key_to_screen(screen, 60)
                rows.append(("key to screen p95 at 5,000/s", 1000 * taken[int(len(taken) * 0.95)], 50.0, "ms"))
                rows.append(("key to screen median", 1000 * taken[len(taken) // 2], 50.0, "ms"))
            lost = int(screen.lines[0].split(" lost ")[1].split()[0])
            rows.append(("events lost", float(lost), 0.0, ""))
    print(f"\n{size[0]}x{size[1]}")
    for name, value, budget, unit in rows:
        print(f"  {name:<32} {value:>8.1f} {unit:<5} budget {budget:g}")
    late = [name for name, value, budget, _ in rows if value > budget and not name.startswith("first")]
    assert not late
