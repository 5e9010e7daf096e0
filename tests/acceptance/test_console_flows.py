"""The console's flows key by key on a real pty, against the real engine with the demo recording in it."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.natskit import PASSWORD, USER, nats_server
from tests.programkit import Daemon, cli, daemon, listed, until
from tests.ptykit import KEYS, Terminal, nats_child, terminal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
START_S, STEP_S = 90.0, 30.0
ESC_S = 0.15
"""Seconds after which a terminal's Esc is no longer the beginning of a longer key."""
MINUTE_OF_KEYS = 1700
MULTI, OTHER = "203.0.113.77", "192.0.2.151"
"""Of the demo: the address behind which two operators work, and another one."""
MOST_USED = "L0605"
"""The rule that fires most often in the demo, so that it stands in the list's first lines."""
FLEET = """\
fleet: lab
substrate: dry_run
mutate_interval: never
deckies:
  - {name: lab-01, pool: [http, ftp], services: [http]}
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """An engine that has read the demo and keeps running."""
    folder = tmp_path_factory.mktemp("engine")
    with daemon(folder / "data", folder / "engine.log", "--demo") as running:
        until(lambda: listed("alerts", running.data_dir), 240, "the demo's alert", pause=1.0)
        yield running


@contextmanager
def console(data_dir: Path, *arguments: str | Path, size: tuple[int, int] = (80, 24)) -> Iterator[Terminal]:
    """Attached, with the store read."""
    with terminal("--data-dir", data_dir, *arguments, size=size) as screen:
        screen.shows("0*", START_S)
        screen.until(lambda: "Reading ..." not in screen.text, START_S, "what is new")
        yield screen


def back(screen: Terminal) -> None:
    """Esc, and the time that a terminal needs to know it from an alt key."""
    screen.press("esc")
    screen.read(0.5)


def filtered(screen: Terminal, text: str, shows: str) -> None:
    screen.press("/", text, "enter")
    screen.shows(shows, STEP_S)


def write_mode(screen: Terminal) -> None:
    screen.press("W")
    screen.shows("Type y for write mode", STEP_S)
    screen.press("y")
    screen.shows("RW", STEP_S)


def line_with(screen: Terminal, *words: str) -> str:
    return next((line for line in screen.lines[3:] if all(word in line for word in words)), "")


def gone(screen: Terminal) -> None:
    screen.until(lambda: not screen.child.isalive(), STEP_S, "the console's end")
    assert screen.child.exitstatus == 0


def journalled(screen: Terminal, *words: str) -> None:
    screen.press("8")
    screen.until(lambda: line_with(screen, *words), STEP_S, f"{words} in the journal")


def test_disable_a_rule_for_an_hour_and_for_a_moment(engine: Daemon) -> None:
    with console(engine.data_dir) as screen:
        screen.press("4")
        screen.shows(MOST_USED, STEP_S)
        filtered(screen, "R0012", "hidden  1/")
        screen.press("enter")
        screen.shows("rule_id: R0012", STEP_S)
        back(screen)
        write_mode(screen)
        screen.press("D")
        screen.shows("DISABLE R0012", STEP_S)
        screen.press("tab", "noisy: own scanner (OPS-311)", "enter")
        screen.shows("Type y to disable for 1h", STEP_S)
        screen.press("y")
        screen.shows("R0012 disabled: verified", STEP_S)
        screen.until(lambda: re.search(r"R0012 .*OFF .*(59m\d\ds|60m00s)", screen.text), STEP_S, "the row")
        journalled(screen, "R0012 disabled", "verified")

        screen.press("4")
        screen.shows("R0012", STEP_S)
        screen.press("D", "6s", "tab", "a moment", "enter")
        screen.shows("Type y to disable for 6s", STEP_S)
        screen.press("y")
        screen.shows("R0012 disabled: verified", STEP_S)
        screen.until(lambda: re.search(r"R0012 .* on ", screen.text), STEP_S, "R0012 on again, by itself")
        journalled(screen, "(expiry)", "R0012 enabled again")
    (rule,) = [row for row in json.loads(cli("rules", "list", "--json", "--data-dir", engine.data_dir).stdout)
               if row["rule_id"] == "R0012"]  # fmt: skip
    assert rule["state"] == "enabled"


def test_clip_a_rule_with_a_preview_and_not_above_its_base(engine: Daemon) -> None:
    with console(engine.data_dir) as screen:
        screen.press("4")
        screen.shows(MOST_USED, STEP_S)
        filtered(screen, "R0054", "hidden  1/")
        write_mode(screen)
        screen.press("C")
        screen.shows("CLIP R0054", STEP_S)
        screen.press("0.99", "enter")
        screen.shows("own confidence", STEP_S)
        assert "Type y" not in screen.text
        screen.press("left", "0.10")
        screen.shows("no longer stored: T", STEP_S)
        screen.press("left", "left")
        screen.shows("[0.00]", STEP_S)
        screen.press(*["right"] * 8)
        screen.shows("[0.40]", STEP_S)
        screen.shows("nothing falls below the floor", STEP_S)
        screen.press("enter", "y")
        screen.shows("R0054 clipped to 0.40: verified", STEP_S)
        screen.shows("clipped 0.40", STEP_S)
        screen.press("U")
        screen.shows("back to", STEP_S)
        screen.press("y")
        screen.shows("R0054 enabled: verified", STEP_S)
        screen.until(lambda: re.search(r"R0054 .* on ", screen.text), STEP_S, "the former state")


def test_a_rotation_is_followed_and_a_silent_mutator_is_unknown(engine: Daemon, tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(FLEET, "utf-8")
    done = cli("fleet", "apply", tmp_path / "fleet.yaml", "--data-dir", engine.data_dir)
    assert done.returncode == 0, done.stderr.decode()
    config = tmp_path / "settings.yaml"
    config.write_text("mutator: {apply_timeout_s: 5}\n", "utf-8")
    with console(engine.data_dir, "--config", config) as screen:
        screen.press("5")
        filtered(screen, "lab-01", "hidden  1/")
        screen.until(
            lambda: line_with(screen, "lab-01", " http ", "dry run"), STEP_S, "the decky as a dry run"
        )
        write_mode(screen)
        screen.press("M")
        for words in ("MUTATE lab-01", "no live session would be cut", "last heartbeat is"):
            screen.shows(words, STEP_S)
        screen.press("a drill", "enter")
        screen.shows("Type y to rotate lab-01 now", STEP_S)
        screen.press("y")
        screen.shows("rotate lab-01: verified (http -> ftp)", STEP_S)
        screen.until(lambda: line_with(screen, "lab-01", " ftp "), STEP_S, "the new service in the list")

        stopped(engine)
        try:
            screen.press("M", "silence", "enter", "y")
            screen.shows("rotate lab-01: UNKNOWN", STEP_S)
        finally:
            os.kill(engine.process.pid, signal.SIGCONT)
        assert "verified" not in line_with(screen, "rotate lab-01")
        screen.until(lambda: line_with(screen, "lab-01", " http "), 60, "the request served after all")
        journalled(screen, "rotate lab-01", "UNKNOWN")

        screen.press("6")
        screen.shows("mutator", STEP_S)
        screen.press(":", "worker mutator pause", "enter", "enter", "y")
        screen.shows("mutator pause: verified", STEP_S)
        screen.press("5", "M")
        screen.shows("the mutator is paused: nobody would rotate lab-01", STEP_S)
        screen.press(":", "worker mutator resume", "enter", "enter", "y")
        screen.shows("mutator resume: verified", STEP_S)


def test_one_attacker_is_followed_through_all_views(engine: Daemon) -> None:
    with console(engine.data_dir, size=(120, 30)) as screen:
        screen.press("3")
        screen.shows(OTHER, STEP_S)
        filtered(screen, MULTI, "hidden  1/")
        screen.press("F")
        screen.shows(f"following {MULTI} in all views", STEP_S)
        for key, title in zip("01245678", _titles("01245678"), strict=True):
            screen.press(key)
            screen.shows(f"{key}*{title}", STEP_S)
            screen.read(1.0)
            assert f"follow {MULTI}" in screen.lines[0], screen.text
            assert not line_with(screen, OTHER), screen.text
        screen.press("3")
        screen.shows(f"filter {MULTI}", STEP_S)
        screen.press("1")
        screen.until(lambda: line_with(screen, MULTI), STEP_S, "events of the one that is followed")
        screen.press("F")
        screen.until(lambda: "follow" not in screen.lines[0], STEP_S, "everybody again")


def stopped(engine: Daemon) -> None:
    """Holds the engine still at a moment when it is not writing."""
    for _ in range(50):
        os.kill(engine.process.pid, signal.SIGSTOP)
        with closing(sqlite3.connect(engine.data_dir / "decnet.sqlite", timeout=0.1)) as database:
            try:
                database.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError:
                os.kill(engine.process.pid, signal.SIGCONT)
    raise AssertionError("the engine writes all the time")


def _titles(keys: str) -> list[str]:
    names = ["Since", "Traffic", "Alerts", "Actors", "Rules", "Fleet", "Health", "Coverage", "Journal"]
    return ["" if key == "0" else names[int(key)] for key in keys]


def test_from_the_alert_to_sides_to_a_command(engine: Daemon) -> None:
    with console(engine.data_dir, size=(160, 48)) as screen:
        screen.shows("ALERTS 1", STEP_S)
        screen.press("2")
        for words in (MULTI, "for it:", "against it:", "cannot be told apart:"):
            screen.shows(words, STEP_S)
        claim, evidence, against = (
            screen.text.index(words) for words in ("operators", "for it:", "against it:")
        )
        assert claim < evidence < against
        screen.press("enter")
        screen.until(
            lambda: {line[3] for line in screen.lines[4:40] if re.match(r"[ >]  [AB][ !] \d", line)} == {"A", "B"}, STEP_S, "both sides"
        )  # fmt: skip
        screen.press("enter")
        screen.shows("> session ", STEP_S)
        screen.until(lambda: re.search(r"\+0:\d\d +LOOK +nproc; ", screen.text), STEP_S, "its commands")
        for _ in range(2):
            back(screen)
        screen.shows("for it:", STEP_S)
        assert line_with(screen, MULTI, "open")


def test_the_alert_is_told_when_it_comes_and_takes_no_focus(tmp_path: Path) -> None:
    with terminal("--demo", "--data-dir", tmp_path, size=(100, 30)) as screen:
        screen.shows(" LIVE ", START_S)
        screen.press("4")
        screen.shows("4*Rules", STEP_S)
        screen.shows("multi-actor alert:", 240)
        assert "4*Rules" in screen.text
        screen.shows("ALERTS 1", STEP_S)
        screen.press("Q")
        screen.shows("The demo ends, its data and exports are deleted", STEP_S)
        screen.press("n")
        screen.shows("still here; Esc or Enter goes on", STEP_S)
        screen.press("Q")
        screen.read(1.0)
        assert "The demo ends" not in screen.text, "what is typed on after a refusal became a command"
        screen.press("enter")
        screen.until(lambda: "still here" not in screen.text, STEP_S, "keys are commands again")
        screen.press("Q", "y")
        gone(screen)


def test_pause_filter_inspect_export_while_events_go_by(tmp_path: Path) -> None:
    from tests.bench.consoleload import publisher  # here: only this flow needs the load

    config, data = tmp_path / "settings.yaml", tmp_path / "data"
    config.write_text(f"bus: {{user: {USER}, password: {PASSWORD}}}\n", "utf-8")
    with (
        nats_server(tmp_path / "nats") as url,
        terminal("--attach", url, "--config", config, "--data-dir", data) as screen,
        publisher(url, 500),
    ):
        screen.until(lambda: re.search(r"LIVE [1-9]", screen.lines[0]), START_S, "events")
        screen.press("1", "p")
        screen.shows("PAUSED", STEP_S)
        screen.until(lambda: re.search(r"\+\d+ new", screen.text), STEP_S, "how many are new")
        screen.press("/", "\x15", "seq:7", "enter")
        screen.read(1.0)
        held = screen.lines[3:20]
        screen.read(1.0)
        assert screen.lines[3:20] == held
        assert all("seq=7" in line for line in held if "decky." in line), screen.text
        screen.press("up", "enter")
        screen.shows('"payload"', STEP_S)
        back(screen)
        screen.press("e", "j")
        screen.shows("exported ", STEP_S)
        (made,) = (data / "exports").glob("traffic-*.jsonl")
        assert made.stat().st_mode & 0o777 == 0o600
        assert all(json.loads(line)["payload"]["seq"] == 7 for line in made.read_bytes().splitlines())
        screen.press("p", "\\")
        screen.until(lambda: "PAUSED" not in screen.text, STEP_S, "it goes on")
        assert " lost 0 " in screen.lines[0]


def test_quitting_an_attachment_leaves_the_engine_running(engine: Daemon) -> None:
    with console(engine.data_dir) as screen:
        screen.press("Q")
        gone(screen)
    assert engine.process.poll() is None
    assert cli("workers", "--data-dir", engine.data_dir).returncode == 0


def test_quitting_with_the_engine_inside_can_leave_it_headless(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with terminal("--data-dir", data) as screen:
        screen.shows(" LIVE ", START_S)
        screen.press("Q")
        screen.shows("h leave it headless", STEP_S)
        screen.press("h")
        gone(screen)
        found = re.search(rb"runs headless \(pid (\d+)", bytes(screen.raw))
    assert found, screen.text
    pid = int(found[1])
    try:
        with terminal("--data-dir", data) as again:
            again.shows(" LIVE ", START_S)
            assert nats_child(pid)
            again.press("Q")
            gone(again)
        os.kill(pid, 0)
    finally:
        os.kill(pid, signal.SIGTERM)
    until(lambda: not Path(f"/proc/{pid}/cmdline").exists(), STEP_S, "the end of the engine left behind")


def test_two_consoles_see_each_other_change_things(engine: Daemon) -> None:
    """A second is the promise; ten times that is waited for, since the test shares its machine."""
    with console(engine.data_dir) as one, console(engine.data_dir) as two:
        for screen in (one, two):
            screen.press("4")
            screen.shows(MOST_USED, STEP_S)
            filtered(screen, "R0098", "hidden  1/")
        write_mode(one)
        two.press("D", "y")
        two.shows("DISABLE R0098", STEP_S)
        one.press("D", "enter", "y")
        one.shows("R0098 disabled: verified", STEP_S)
        two.shows("changed meanwhile by", 10)
        back(two)
        two.shows(" OFF ", 10)
        two.press("8")
        two.until(lambda: line_with(two, "R0098 disabled", "verified"), 10, "the other's journal line")
        two.press("U")
        two.shows("back to", STEP_S)
        two.press("y")
        two.shows("R0098 enabled: verified", STEP_S)
        one.until(lambda: re.search(r"R0098 .* on ", one.text), 10, "on again")


def kept(data_dir: Path) -> dict[str, list[str]]:
    """What operators can change, as the store holds it."""
    with closing(sqlite3.connect(data_dir / "decnet.sqlite")) as database:
        wanted = ("journal", "ttp_rule_state", "attribution_alert", "mutation")
        return {table: sorted(map(str, database.execute(f"SELECT * FROM {table}"))) for table in wanted}


def test_random_keys_of_a_minute_without_write_mode_change_nothing(engine: Daemon) -> None:
    """As many keys as somebody presses in sixty seconds, in bursts: what counts is what they do, not how long."""
    dice = random.Random(60)
    keys = [chr(c) for c in range(33, 127) if chr(c) != "Q"] + [
        "up",
        "down",
        "left",
        "right",
        "enter",
        "tab",
        "ctrl+p",
    ]
    before, files = kept(engine.data_dir), names_of(engine.data_dir)
    with console(engine.data_dir, "--read-only") as screen:
        for _ in range(MINUTE_OF_KEYS // 10):
            screen.child.send("".join(KEYS.get(key, key) for key in dice.choices(keys, k=10)))
            screen.read(0.02)
            if dice.random() < 0.3:
                screen.press("esc")
                screen.read(ESC_S)
        screen.until(lambda: not screen.read(0.5), STEP_S, "the last key's frame")
        assert screen.child.isalive(), screen.text
        assert "Type y for write mode" not in bytes(screen.raw).decode(errors="replace")
    assert kept(engine.data_dir) == before
    assert names_of(engine.data_dir) - files <= {"console.log", "exports"}


def names_of(data_dir: Path) -> set[str]:
    """Files and directories of the data directory; the database's own come and go."""
    return {path.name for path in data_dir.iterdir() if not path.name.startswith("decnet.sqlite")}
