"""The console's budgets on a real pty, attached to a real NATS server that a publisher in another process feeds.

Latency is from the key to the first byte of the frame that shows what it does; bytes are those read from the
pty. The figures stand in one table at the end. The load of the machine stands beside them: they are meant for
one that has nothing else to do.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bench.consoleload import big_event, publisher
from tests.bench.figures import Table, key_to_screen, p95, until_seen
from tests.natskit import PASSWORD, USER, nats_server
from tests.ptykit import Terminal, terminal

pytestmark = [pytest.mark.bench, pytest.mark.timeout(400)]
SIZES = [(80, 24), (160, 48)]
OUTPUT_KB = {80: 30.0, 160: 100.0}
SLOW_LINE = 16_000
"""Bytes a second of a line of 128 kbit/s."""


@contextmanager
def console(folder: Path, url: str, size: tuple[int, int] = (80, 24)) -> Iterator[Terminal]:
    """Attached to a bus only, on Traffic."""
    config = folder / "settings.yaml"
    config.write_text(f"bus: {{user: {USER}, password: {PASSWORD}}}\n", "utf-8")
    with terminal("--attach", url, "--config", config, "--data-dir", folder / "data", size=size) as screen:
        screen.shows(" LIVE ", 60)
        yield screen


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    """Resident memory of a process."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


def shares(screen: Terminal, seconds: float) -> tuple[float, float]:
    """Percent of a processor, and kB/s written, while somebody reads."""
    cpu, written, started = cpu_seconds(screen.child.pid), len(screen.raw), time.monotonic()
    while (taken := time.monotonic() - started) < seconds:
        screen.read(0.2)
    return (
        100 * (cpu_seconds(screen.child.pid) - cpu) / taken,
        (len(screen.raw) - written) / taken / 1000,
    )


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_latency_bytes_and_cpu(tmp_path: Path, table: Table, size: tuple[int, int]) -> None:
    at = f"{size[0]}x{size[1]}"
    with nats_server(tmp_path / "nats") as url, console(tmp_path, url, size) as screen:
        screen.press("1")
        screen.read(2)
        table.add(f"CPU idle {at}", shares(screen, 8)[0], 3.0, "%")
        with publisher(url, 1000):
            screen.read(2)
            table.add(f"CPU at 1,000/s {at}", shares(screen, 8)[0], 15.0, "%")
        with publisher(url, 5000):
            screen.read(3)
            cpu, written = shares(screen, 8)
            table.add(f"output at 5,000/s {at}", written, OUTPUT_KB[size[0]], "kB/s")
            table.add(f"CPU at 5,000/s {at}", cpu, 100.0, "%")
            taken = key_to_screen(screen, 60)
            table.add(f"key to screen at 5,000/s, median {at}", taken[len(taken) // 2], 50.0, "ms")
            table.add(f"key to screen at 5,000/s, p95 {at}", p95(taken), 50.0, "ms")
            table.add(f"lost at 5,000/s {at}", lost(screen), 0.0, "")


def lost(screen: Terminal) -> float:
    """What line 1 says."""
    return float(screen.lines[0].split(" lost ")[1].split()[0])


def test_nothing_is_lost_at_10000_a_second(tmp_path: Path, table: Table) -> None:
    """Paused, so that "+N new" counts what has come; 200,000 of them do not move the view."""
    count = 300_000
    with nats_server(tmp_path / "nats") as url, console(tmp_path, url) as screen:
        bare = rss_mb(screen.child.pid)
        with publisher(url, 500, 200) as first:
            first.wait(60)
            screen.until(lambda: "ring 20" in screen.text, 20, "the first events")
        screen.press("1", "p")
        screen.shows("PAUSED", 10)
        before = screen.lines[3:-4]
        began = time.monotonic()
        with publisher(url, 10_000, count) as sender:
            while sender.poll() is None and time.monotonic() - began < 200:
                screen.read(0.5)
            sent_s = time.monotonic() - began
            screen.until(lambda: new(screen) >= count or lost(screen), 60, "all of them")
        assert screen.lines[3:-4] == before
        table.add("events a second that were published", -count / sent_s, -9_000, "(negative: at least)")
        table.add("missing of 300,000 at 10,000/s", float(count - new(screen)), 0.0, "")
        table.add("lost at 10,000/s for 30 s", lost(screen), 0.0, "")
        table.add("memory of a full ring", rss_mb(screen.child.pid) - bare, 150.0, "MB")
        table.add("memory of an attached console, full ring", rss_mb(screen.child.pid), 250.0, "MB")


def new(screen: Terminal) -> int:
    """Events since the pause."""
    found = re.search(r"\+(\d+) new", screen.text)
    return int(found[1]) if found else 0


def test_a_slow_line(tmp_path: Path, table: Table) -> None:
    """A line of 128 kbit/s under 5,000 events/s: a key does not wait behind frames that nobody has seen."""
    with nats_server(tmp_path / "nats") as url, console(tmp_path, url) as screen:
        screen.press("1")
        screen.read(1)
        screen.rate = SLOW_LINE
        with publisher(url, 5000):
            screen.read(5)
            taken = key_to_screen(screen, 20)
        screen.rate = 0
    table.add("key to screen at 128 kbit/s, p95 80x24", p95(taken), 500.0, "ms")


def test_the_first_useful_frame(tmp_path: Path, table: Table) -> None:
    """Time until the figures on the screen are live, and until what is new since the last look stands there.

    The second start of each: files are in the cache then.
    """
    from tests.programkit import daemon, listed, until

    with daemon(tmp_path / "data", tmp_path / "engine.log", "--demo"):
        until(lambda: listed("alerts", tmp_path / "data"), 200, "the demo played", pause=2.0)
        for _ in range(2):
            started = time.monotonic()
            with terminal("--data-dir", tmp_path / "data") as screen:
                screen.until(lambda: " LIVE " in screen.text, 60, "live figures")
                live = time.monotonic() - started
                screen.until(lambda: "READ FIRST" in screen.text and "0*" in screen.text, 60, "what is new")
                stored, cpu = time.monotonic() - started, cpu_seconds(screen.child.pid)
    table.add("first useful frame: live figures", live, 1.0, "s")
    table.add("what is new, from the database", stored, 1.5, "s")
    table.add("its processor time", cpu, 1.5, "s")


def test_a_payload_of_one_mib(tmp_path: Path, table: Table) -> None:
    with nats_server(tmp_path / "nats") as url, console(tmp_path, url, (120, 30)) as screen:
        screen.press("1")
        subprocess.run([sys.executable, "-c", big_event(2**20), url, USER, PASSWORD], check=True, timeout=60)
        screen.until(lambda: "decky.web-07.big" in screen.text, 30, "the event")
        screen.press("v")
        screen.read(1)
        taken = []
        for _ in range(10):
            screen.press("up")
            screen.read(0.3)
            taken.append(until_seen(screen, "\x1b[B", b'"blob"'))
    table.add("a payload of 1 MiB under the cursor", max(taken), 200.0, "ms")
