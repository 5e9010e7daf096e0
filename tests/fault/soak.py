"""A week in an hour: one engine under ten times the busiest public log, while everything around it changes.

    python -m tests.fault.soak [--minutes 60] [--rate LINES_A_SECOND] [--out DIR]

The log is rotated, rules are saved and switched off and on, a fleet rotates, consoles come and go. Memory, descriptors,
lag, work and sizes are sampled once a second; ``samples.csv``, ``soak.svg`` and ``verdict.txt`` are in DIR. Ends with 1
when something is not flat, was lost, or died, and with 3 when the machine is too slow for the rate, or the run too short to judge memory, and nothing else is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median

from decnet.db.repository.recorder.recent import IDS_KEPT
from decnet.sensors.assembly import LIVES_KEPT
from decnet_tui.bench import made
from tests.fault.outcome import rows
from tests.fault.scene import server_pid, url_of
from tests.fault.soakverdict import LAG, WORK, Series, Verdict, concluded, drawing, judged
from tests.programkit import Daemon, cli, daemon
from tests.ptykit import terminal

PUBLIC_LINES, PUBLIC_DAYS = 7_700_000, 120
"""The largest public Cowrie log with a known total: some 7.7 million events in almost four months.

Source: https://vagn.es/posts/honeypot-nosql/
"""
TIMES = 10
RATE = TIMES * 7 * PUBLIC_LINES / PUBLIC_DAYS / 3600
"""Lines a second: ten times a week of it in an hour."""
ROTATED_S, SAVED_S, TOGGLED_S, CONSOLE_S = 60.0, 5.0, 15.0, 30.0
"""Seconds between rotations of the log, saves of a rule, toggles, and consoles that come."""
LOOKED_S = 15.0
"""Seconds that a console stays."""
STUCK_S = 180.0
"""Seconds without one more stored session after which what is left counts as not worked off when the run is over."""
SCRIPTS = 1_000
"""Different sessions: those who attack in such numbers are programs, which play what they have again and again. What is

learnt of a script that nobody played before stays for as long as the data does, so new ones without end are no leak.
"""
REMEMBERED = max(LIVES_KEPT, IDS_KEPT)
"""Sessions until everything is full that an engine remembers up to a bound."""
LEAST_MINUTES = 3.0
WINDOW_S = 60.0
"""Seconds over which work is taken together: workers say what they did every ten."""
KEPT_LOGS = 5

FLEET = """fleet: soak
substrate: dry_run
mutate_interval: 30s
deckies:
"""
RULES = Path(__file__).parents[2] / "rules" / "ttp"
SAVED, TOGGLED = "R0036_network_scan.yaml", "R0121"


@dataclass(frozen=True, slots=True)
class Sample:
    """One second of a run."""

    at: float
    engine_mb: float
    server_mb: float
    engine_fds: int
    server_fds: int
    lag: int
    """Events that wait, news that wait for the bus, and bytes of the log that are not read yet in lines."""
    done: int
    """Events that the workers have handled, all together."""
    cpu_s: float
    """Processor time of the engine."""
    lines: int
    """Lines written so far."""
    database_bytes: int
    bus_bytes: int


class World:
    """What goes on around the engine; each of it in a thread that ends with the run."""

    def __init__(self, out: Path, rate: float) -> None:
        self.out, self.rate = out, rate
        self.data, self.rules, self.logs = out / "data", out / "rules", out / "logs"
        self.log = self.logs / "cowrie.json"
        self.over = threading.Event()
        self.lines = 0
        self.did = dict.fromkeys(("rotations", "saves", "toggles", "consoles"), 0)
        self.faults: list[str] = []
        shutil.copytree(RULES, self.rules)
        self.logs.mkdir()
        self.log.touch()
        (out / "fleet.yaml").write_text(
            FLEET
            + "".join(
                f"  - {{name: web-{n:02d}, pool: [http, ssh, ftp, telnet], services: [http]}}\n"
                for n in range(8)
            ),
            "utf-8",
        )

    def write(self) -> None:
        """The log, at its rate; it is renamed away now and then, and old ones are removed."""
        lines = made.log_lines(10**9, scripts=SCRIPTS)
        began = rotated = time.monotonic()
        file = self.log.open("a", encoding="utf-8")
        while not self.over.wait(0.1):
            now = time.monotonic()
            due = int((now - began) * self.rate) - self.lines
            file.write("".join(f"{next(lines)}\n" for _ in range(due)))
            file.flush()
            self.lines += due
            if now - rotated >= ROTATED_S:
                file.close()
                self._rotate()
                file, rotated = self.log.open("a", encoding="utf-8"), now
        file.close()

    def _rotate(self) -> None:
        for number in range(KEPT_LOGS, 0, -1):
            old = Path(f"{self.log}.{number}")
            if old.exists():
                old.unlink() if number == KEPT_LOGS else old.rename(f"{self.log}.{number + 1}")
        self.log.rename(f"{self.log}.1")
        self.did["rotations"] += 1

    def save(self) -> None:
        """A rule, each time with another description; every fourth time it is broken for a moment."""
        path = self.rules / SAVED
        text = path.read_text("utf-8")
        while not self.over.wait(SAVED_S):
            number = self.did["saves"] = self.did["saves"] + 1
            if number % 4 == 0:
                path.write_text(text[: len(text) // 2], "utf-8")
                self.over.wait(1.0)
            path.write_text(text.replace("Scans hosts", f"Scans hosts ({number})"), "utf-8")

    def toggle(self) -> None:
        """A rule off, and on again."""
        while not self.over.wait(TOGGLED_S):
            word = "enable" if self.did["toggles"] % 2 else "disable"
            self._command("rules", word, TOGGLED, "--reason", "soak")
            self.did["toggles"] += 1

    def look(self) -> None:
        """A console that comes, goes through its views, and leaves."""
        while not self.over.wait(CONSOLE_S):
            with terminal("--data-dir", self.data, size=(160, 48)) as screen:
                until_s = time.monotonic() + LOOKED_S
                while time.monotonic() < until_s and not self.over.is_set():
                    screen.press(*"12345678")
                    screen.read(1.0)
                if not screen.child.isalive():
                    self.faults.append(f"a console ended by itself:\n{screen.text}")
            self.did["consoles"] += 1

    def _command(self, *words: str) -> None:
        done = cli(*words, "--data-dir", self.data)
        if done.returncode:
            self.faults.append(f"{' '.join(words[:2])}: {done.stderr.decode()[-300:].strip()}")

    @contextmanager
    def turning(self) -> Iterator[None]:
        """All of it goes on meanwhile; an error of one is a fault of the run."""
        self._command("fleet", "apply", str(self.out / "fleet.yaml"))
        bodies = (self.write, self.save, self.toggle, self.look)
        threads = [threading.Thread(target=self._kept, args=(body,), name=body.__name__) for body in bodies]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.over.set()
            for thread in threads:
                thread.join()

    def _kept(self, body: Callable[[], None]) -> None:
        try:
            body()
        except Exception as error:  # noqa: BLE001  told at the end
            self.faults.append(f"{body.__name__}: {error!r}")


def _of_process(pid: int) -> tuple[float, int]:
    """Megabytes and open files of a process; nothing of one that is not there."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0.0, 0


def _size(folder: Path, pattern: str) -> int:
    total = 0
    for path in folder.glob(pattern):
        try:
            total += path.stat().st_size
        except OSError:
            continue
    return total


def _cpu_s(pid: int) -> float:
    """Processor time that a process has had; none of one that is not there."""
    try:
        found = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(found[11]) + int(found[12])) / os.sysconf("SC_CLK_TCK")


def _lag_and_done(url: str) -> tuple[int, int]:
    """What waits (events of every worker, news, lines that the sensors have not read), and events that were handled."""
    lag = done = 0
    for worker, payload in rows(url, "SELECT worker, payload FROM worker_heartbeat"):
        said = json.loads(payload) if isinstance(payload, str) else payload
        if worker == "sensors":
            lag += int(said.get("bytes_behind") or 0) // 250
        else:
            lag += int(said.get("lag") or 0) + int(said.get("outbox") or 0)
            done += int(said.get("processed") or 0)
    return lag, done


def sample(world: World, engine: Daemon, at: float) -> Sample:
    """One look at everything."""
    engine_mb, engine_fds = _of_process(engine.process.pid)
    server_mb, server_fds = _of_process(server_pid(world.data))
    lag, done = _lag_and_done(url_of(world.data))
    return Sample(
        at, engine_mb, server_mb, engine_fds, server_fds, lag, done, _cpu_s(engine.process.pid), world.lines,
        _size(world.data, "decnet.sqlite*"), _size(world.data / "bus", "**/*"),
    )  # fmt: skip


def watched(world: World, engine: Daemon, seconds: float, out: Path) -> list[Sample]:
    """Samples of a run, once a second, and as a file while it goes on."""
    began, samples = time.monotonic(), list[Sample]()
    with (out / "samples.csv").open("w", encoding="utf-8") as file:
        file.write(",".join(field.name for field in fields(Sample)) + "\n")
        while (at := time.monotonic() - began) < seconds and engine.process.poll() is None:
            samples.append(found := sample(world, engine, at))
            file.write(",".join(f"{value:.10g}" for value in asdict(found).values()) + "\n")
            file.flush()
            time.sleep(max(0.0, began + at + 1.0 - time.monotonic()))
    return samples


def verdicts(samples: list[Sample], rate: float) -> list[Verdict]:
    """What the run came to, figure by figure."""

    def of(value: Callable[[Sample], float]) -> list[tuple[float, float]]:
        return [(one.at, value(one)) for one in samples]

    full_at = next((one.at for one in samples if one.lines >= REMEMBERED * made.LINES), float("inf"))

    def share(name: str, unit: str, value: Callable[[Sample], float], part: float, least: float) -> Series:
        found = of(value)
        return Series(name, unit, found, max(least, part * median(number for _, number in found)), full_at)

    by_event = [(one.at, one.database_bytes / one.done) for one in samples if one.done]
    work = _work(samples)
    series = [
        share("memory of the engine", "MB", lambda one: one.engine_mb, 0.1, 20),
        share("memory of its server", "MB", lambda one: one.server_mb, 0.2, 40),
        Series("files of the engine", "open", of(lambda one: one.engine_fds), 4),
        Series("files of its server", "open", of(lambda one: one.server_fds), 4),
        Series(LAG, "events", of(lambda one: one.lag), 5 * rate),
        Series(WORK, "ms", work, 0.25 * median(ms for _, ms in work)),
        Series("database, by event", "bytes", by_event, 0.05 * by_event[-1][1]),
    ]
    return [judged(one) for one in series]


def _work(samples: list[Sample]) -> list[tuple[float, float]]:
    """Milliseconds of the engine's processor time for an event, over the last minute: an engine that gets slower shows,

    however busy the machine is with others.
    """
    found, first = [], 0
    for one in samples:
        while samples[first + 1].at <= one.at - WINDOW_S:
            first += 1
        before = samples[first]
        if one.at - before.at >= WINDOW_S and one.done > before.done:
            found.append((one.at, 1000 * (one.cpu_s - before.cpu_s) / (one.done - before.done)))
    return found


def worked_off(world: World) -> int:
    """Waits until all that was written is stored, or no more comes; how many sessions are missing."""
    url, whole = url_of(world.data), world.lines // made.LINES
    there, since = _ended(url), time.monotonic()
    while there < whole and time.monotonic() < since + STUCK_S:
        time.sleep(1.0)
        if (now := _ended(url)) != there:
            there, since = now, time.monotonic()
    return whole - there


def losses(world: World, engine: Daemon, late: int) -> list[str]:
    """What is wrong after everything was worked off but ``late`` sessions; the daemon is stopped."""
    url, whole, wanted = url_of(world.data), world.lines // made.LINES, -(-world.lines // made.LINES)
    code = engine.stop()
    stored = rows(url, "SELECT count(*) FROM session")[0][0]
    letters = rows(url, "SELECT worker, reason FROM dead_letter")
    found = [f"the engine ended with {code}"] if code else []
    found += [f"{late} of {whole} sessions not worked off, none for {STUCK_S:g} s"] if late > 0 else []
    found += [f"{stored} sessions are stored of {wanted}"] if stored != wanted else []
    found += [f"{len(letters)} dead letters, the first: {letters[0]}"] if letters else []
    found += ["a traceback in its log"] if "Traceback" in engine.said() else []
    return found + (["the database is damaged"] if rows(url, "PRAGMA integrity_check") != [("ok",)] else [])


def _ended(url: str) -> int:
    return int(rows(url, "SELECT count(*) FROM session WHERE ended_at IS NOT NULL")[0][0])


def run(minutes: float, rate: float, out: Path) -> int:
    """The whole of it; see the module's text."""
    if out.exists() and any(out.iterdir()):
        raise SystemExit(f"{out} is not empty")
    out.mkdir(parents=True, exist_ok=True)
    world = World(out, rate)
    given = ("--sensor", f"cowrie={world.logs}", "--rules", world.rules)
    with daemon(world.data, out / "engine.log", *given) as engine, world.turning():
        began = time.monotonic()
        samples = watched(world, engine, minutes * 60, out)
        world.over.set()
        alive = engine.process.poll() is None
        late = worked_off(world) if alive else 0
        carried = (world.lines - late * made.LINES) / (time.monotonic() - began)
        wrong = losses(world, engine, late) if alive else ["the engine died"]
    found = verdicts(samples, rate)
    wrong += world.faults
    title = f"{minutes:g} min at {rate:,.0f} lines/s: {world.lines:,} lines"
    lines = [title, ", ".join(f"{number} {what}" for what, number in world.did.items())]
    lines += [verdict.text() for verdict in found]
    lines += [f"wrong: {fault} ({times} times)" for fault, times in Counter(wrong).items()] or [
        "nothing lost, no dead letter, no fault"
    ]
    text, code = concluded(found, rate, carried, bool(wrong))
    lines.append(f"verdict: {text}")
    (out / "soak.svg").write_text(drawing(title, found), "utf-8")
    (out / "verdict.txt").write_text("\n".join(lines) + "\n", "utf-8")
    print("\n".join(lines))
    return code


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=RATE)
    parser.add_argument("--out", type=Path, default=Path("soak"))
    args = parser.parse_args()
    if args.minutes < LEAST_MINUTES:
        parser.error(f"--minutes: {LEAST_MINUTES:g} at least, less says nothing")
    return run(args.minutes, args.rate, args.out)


if __name__ == "__main__":
    sys.exit(main())
