"""Secrets stand where they are kept and nowhere else: not in arguments, logs, spans, metrics, tables, the stream, dead

letters, answers of commands, exports or on a screen. They are planted in the settings and in the log that is read; an engine, a
console and every command work with them, well and badly; then everything that came out is searched for all of them.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import asyncpg
import pytest
from sqlalchemy import make_url

from tests.acceptance.test_commands_fuzz import COMMANDS
from tests.canarykit import free_ports
from tests.cowriegen import lines
from tests.dbkit import database_url
from tests.fuzzkit import publish
from tests.natskit import server_of
from tests.programkit import PROGRAM, cli, daemon, surroundings, until
from tests.ptykit import terminal
from tests.secretkit import Arguments, Finder, collector

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

SECRETS = {
    "database": "dbCANARYa81f",
    "bus": "busCANARYb92e",
    "service": "keyCANARYc03d",
    "attacker": "pwCANARYd14c",
    "wrong": "noCANARYe25b",
}
KEPT = (
    "data/connection.json", "wrong3/connection.json", "settings.yaml", "cowrie.json", "nats/nats.conf", "broken.yaml", *(f"wrong{number}.yaml" for number in range(4)),
)  # fmt: skip
"""Files (0600, or the test's own) that hold a secret on purpose."""
WORDS = (
    "tags", "sessions", "attackers", "identities", "identities --joined", "campaigns", "attribution", "alerts", "workers", "deadletters",
    "summary", "sensors", "find CANARY", "find root", "ignore list", "rules list", "fleet list", "doctor", "stats", "credentials", "playbooks",
    "intel", "schema",
)  # fmt: skip
IMPATIENT = "import decnet.db.engine\ndecnet.db.engine.CONTACT_TRIES = 1\n"
EXPORTS = ("csv", "jsonl", "navigator", "stix")


class Telemetry(NamedTuple):
    """Where spans and figures are sent to."""

    traces: str
    metrics: str
    every_s: float = 1.0


@dataclass
class Searched:
    """What an engine and everything around it left behind, by what it is."""

    folder: Path
    said: dict[str, bytes] = field(default_factory=dict)


def settings_text(db: str, bus: str, told: Telemetry, password: str) -> str:
    return (
        f"db: {json.dumps(db)}\n"
        f"bus: {{url: {json.dumps(bus)}, user: engine, password: {json.dumps(password)}, connect_timeout_s: 1.0}}\n"
        f"greynoise: {{enabled: true, key: {SECRETS['service']}, base_url: 'http://127.0.0.1:9', timeout_s: 1.0}}\n"
        f"telemetry: {{traces: true, endpoint: {json.dumps(told.traces)}, metrics: true, "
        f"metrics_endpoint: {json.dumps(told.metrics)}, metrics_interval_s: {told.every_s}}}\n"
        "log: {level: DEBUG}\n"
        "runtime: {heartbeat_s: 0.5}\n"
    )


def planted(path: Path) -> int:
    """A log in which attackers log in with the secret; its lines."""
    made = []
    odd = itertools.cycle((str, lambda it: [it], lambda it: {"a": it}, lambda it: f"{it}\0\ud800"))
    for line in lines(300, 17):
        row = json.loads(line)
        if "password" in row:
            row["password"] = next(odd)(SECRETS["attacker"])
            row["message"] = f"login attempt [{row.get('username')}/{SECRETS['attacker']}] failed"
        made.append(json.dumps(row))
    holding = [line for line in made if SECRETS["attacker"] in line]
    made.append(holding[0].replace('"timestamp": "2', '"timestamp": "x2'))  # refused, with what stands in it
    made.append(holding[1][:-9])  # cut off
    path.write_text("".join(f"{line}\n" for line in made), "utf-8")
    return sum(SECRETS["attacker"] in line for line in made)


async def role(url: str) -> str:
    """The database's URL for a user whose password is the secret, with what has to be quoted in it."""
    parsed, password = make_url(url), f"{SECRETS['database']}@/:é"
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("DROP ROLE IF EXISTS decnet_canary")
        await connection.execute(f"CREATE ROLE decnet_canary SUPERUSER LOGIN PASSWORD '{password}'")
    finally:
        await connection.close()
    return parsed.set(username="decnet_canary", password=password).render_as_string(hide_password=False)


async def dumped(url: str) -> bytes:
    """Every row of every table as text."""
    connection = await asyncpg.connect(url)
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        rows = [
            row[0]
            for (table,) in tables
            for row in await connection.fetch(f'SELECT t::text FROM "{table}" t')
        ]
        blobs = await connection.fetch("SELECT convert_from(body, 'UTF8') FROM dead_letter")
    finally:
        await connection.close()
    return "\n".join([*rows, *(row[0] for row in blobs)]).encode()


def answered(asked: Sequence[Sequence[str]], at: Path) -> bytes:
    """What commands say, on both ways out; one process for all of them."""
    at.write_text(json.dumps(asked), "utf-8")
    done = subprocess.run(
        [sys.executable, "-c", IMPATIENT + COMMANDS, str(at)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300,
        env=surroundings(), check=False,
    )  # fmt: skip
    return done.stdout


def looked_at(folder: Path) -> bytes:
    """A console on a terminal: every view, a copy and an export of each."""
    config = ["--config", str(folder / "settings.yaml"), "--data-dir", str(folder / "data")]
    with terminal(*config, size=(160, 48)) as screen:
        screen.shows(" LIVE ", 60)
        for view in "0123456789":
            screen.press(view, "enter", "down", "y", "e", "j", "esc", "esc")
            screen.read(0.3)
        screen.press("4", "W")
        screen.read(0.3)
        screen.press("y")
        screen.read(0.3)
        screen.press("B")
        screen.read(0.5)
        screen.press("enter", "y")
        screen.read(3.0)
        screen.press("Q")
        screen.read(1.0)
        return bytes(screen.raw)


def scraped(port: int) -> bytes:
    """What Prometheus gets, in both of its forms, and what is said of a wrong path."""
    said = b""
    for path, accepted in (
        ("/metrics", "text/plain"),
        ("/metrics", "application/openmetrics-text"),
        ("/x", "*/*"),
    ):
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", path, headers={"Accept": accepted})
        answer = connection.getresponse()
        said += bytes(answer.headers) + answer.read()
        connection.close()
    return said


MALFORMED = (
    "credential.captured",
    {"attacker_uuid": "x", "username": 7},
)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Searched:
    """Everything, once."""
    folder = tmp_path_factory.mktemp("secrets")
    return asyncio.run(worked(folder))


async def worked(folder: Path) -> Searched:
    async with database_url("postgresql", folder) as given:
        url = await role(given)
        with collector() as (traces, spans), collector() as (metrics, figures):
            found = await asyncio.to_thread(_worked, folder, url, Telemetry(traces, metrics), given)
        found.said["spans"], found.said["metrics over OTLP"] = b"\n".join(spans), b"\n".join(figures)
        return found


def _worked(folder: Path, db: str, told: Telemetry, plain: str) -> Searched:
    found = Searched(folder)
    seen = planted(folder / "cowrie.json")
    assert seen > 20
    conf = (
        f'listen: "127.0.0.1:-1"\njetstream {{ store_dir: {json.dumps(str(folder / "nats" / "js"))} }}\n'
        f"authorization {{ user: engine, password: {SECRETS['bus']} }}\n"
    )
    arguments = Arguments()
    arguments.start()
    try:
        with server_of(folder / "nats", conf) as bus:
            (folder / "settings.yaml").write_text(settings_text(db, bus, told, SECRETS["bus"]), "utf-8")
            _with_engine(folder, found, bus)
            found.said["tables"] = asyncio.run(dumped(plain))
            _badly(folder, found, db, bus, told)
    finally:
        found.said["arguments"] = arguments.end()
    return found


def _with_engine(folder: Path, found: Searched, bus: str) -> None:
    place = ["--config", str(folder / "settings.yaml"), "--data-dir", str(folder / "data")]
    (port,) = free_ports(1)
    words = (
        "--sensor", f"cowrie={folder / 'cowrie.json'}", "--config", folder / "settings.yaml", "--metrics", str(port),
    )  # fmt: skip
    with daemon(folder / "data", folder / "engine.log", *words) as engine:
        until(lambda: len(json.loads(cli("tags", "--json", *place).stdout)) > 5, 60, "tags")
        _say(bus, *MALFORMED)  # there is a stream now that keeps it
        until(lambda: b"credential.captured" in cli("deadletters", *place).stdout, 60, "the dead letter")
        asked = [[*line.split(), *more, *place] for line in WORDS for more in ([], ["--json"])]
        asked += [["export", what, "-o", str(folder / f"out.{what}"), *place] for what in EXPORTS]
        found.said["commands"] = answered(asked, folder / "asked.json")
        found.said["screen"] = looked_at(folder)
        found.said["metrics"] = scraped(port)
        assert engine.process.poll() is None, engine.said()


def _say(bus: str, topic: str, payload: dict[str, Any]) -> None:
    from tests import fuzzkit

    before = fuzzkit.USER, fuzzkit.PASSWORD
    fuzzkit.USER, fuzzkit.PASSWORD = "engine", SECRETS["bus"]
    try:
        publish(
            bus,
            [
                (
                    topic,
                    json.dumps(
                        {"v": 1, "id": "f" * 32, "topic": topic, "ts": 1.0, "payload": payload}
                    ).encode(),
                )
            ],
        )
    finally:
        fuzzkit.USER, fuzzkit.PASSWORD = before


def _badly(folder: Path, found: Searched, db: str, bus: str, told: Telemetry) -> None:
    """What an engine and commands say about settings that do not work."""
    wrong = (
        make_url(db)
        .set(port=9, password=SECRETS["wrong"], host="127.0.0.1")
        .render_as_string(hide_password=False)
    )
    cases = {
        "wrong database": (wrong, bus, SECRETS["bus"]),
        "no database": (f"postgresql+nonsense://u:{SECRETS['wrong']}@h/x", bus, SECRETS["bus"]),
        "wrong bus": ("sqlite:///" + str(folder / "x.sqlite"), bus, SECRETS["wrong"]),
        "bus with a password in its address": (
            "sqlite:///" + str(folder / "x.sqlite"),
            f"nats://engine:{quote(SECRETS['wrong'])}@127.0.0.1:9",
            SECRETS["bus"],
        ),
    }
    engines, asked = {}, []
    for number, (what, (database, url, password)) in enumerate(cases.items()):
        config = folder / f"wrong{number}.yaml"
        config.write_text(settings_text(database, url, told, password), "utf-8")
        place = ["--config", str(config), "--data-dir", str(folder / f"wrong{number}")]
        engines[what] = subprocess.Popen(
            [PROGRAM, "--headless", "--until-idle", "1", *place], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=surroundings()
        )  # fmt: skip
        asked += [["tags", *place], ["workers", *place], ["doctor", *place]]
    (folder / "broken.yaml").write_text(
        f"bus: {{password: [{SECRETS['wrong']}]}}\ngreynoise: {{key: 'x {SECRETS['wrong']}'}}\n"
    )
    asked += [["tags", "--config", str(folder / "broken.yaml")]]
    found.said["commands that cannot"] = answered(asked, folder / "asked.json")
    for what, engine in engines.items():
        try:
            engine.wait(5)
        except subprocess.TimeoutExpired:
            engine.kill()  # it tries again for a minute
        found.said[what] = engine.communicate()[0]
    (folder / "asked.json").unlink()


@pytest.mark.fault(
    fault="secrets in the settings and in the log that is read",
    guard="keyed hashes at the sensor; settings that show no value; the environment for what is started",
    control="test_the_search_finds_what_is_there",
    figure="5 secrets, each raw, hex and base64: 0 places but those that keep them",
)
def test_no_secret_stands_anywhere_but_where_it_is_kept(searched: Searched) -> None:
    finder = Finder(SECRETS)
    told = {what: finder.found(raw) for what, raw in searched.said.items() if finder.found(raw)}
    assert told == {}
    assert finder.in_files(searched.folder, KEPT) == {}


@pytest.mark.fault(
    fault="a search for secrets that finds nothing because nothing was there",
    guard="what was searched is looked at itself",
    control="itself",
    figure="arguments, spans, metrics both ways, tables, answers, exports, a screen and a log of each",
)
def test_the_search_looked_at_something(searched: Searched) -> None:
    """Else it would say nothing."""
    said = searched.said
    assert b"\0--headless\0" in said["arguments"]
    assert len(said["spans"]) > 1000
    assert said["metrics"].count(b"decnet_sensor_lines_total{") == 2
    assert b"# EOF" in said["metrics"], "OpenMetrics too"
    assert b"decnet_sensor_lines" in said["metrics over OTLP"]
    assert b"203.0.113." in said["tables"] or len(said["tables"]) > 10_000
    assert b"root/#" in said["commands"]
    assert said["commands"].count(b"=== ") == 2 * len(WORDS) + len(EXPORTS)
    assert said["commands that cannot"].count(b"error: ") >= 4
    assert len(said["screen"]) > 10_000
    broken = [what for what, raw in said.items() if b"Traceback" in raw and what != "arguments"]
    assert broken == []
    for what in EXPORTS:
        assert (searched.folder / f"out.{what}").stat().st_size > 500
    assert (
        "DEBUG" in (searched.folder / "engine.log").read_text()
        or "debug" in (searched.folder / "engine.log").read_text()
    )
    assert list((searched.folder / "data" / "exports").iterdir())


def test_the_search_finds_what_is_there(searched: Searched) -> None:
    """Where secrets are kept they are found: each of them, and where it has to be quoted or is written otherwise."""
    finder = Finder(SECRETS)
    kept = {
        name: finder.found((searched.folder / name).read_bytes())
        for name in KEPT
        if (searched.folder / name).exists()
    }
    assert kept["settings.yaml"] == {"database", "bus", "service"}
    assert kept["cowrie.json"] == {"attacker"}
    import base64

    for before in range(4):
        raw = b"x" * before + SECRETS["bus"].encode() + b"yz"
        assert finder.found(base64.b64encode(raw)) == finder.found(raw.hex()) == {"bus"}, before
    assert finder.found(b"CANARY") == set()
