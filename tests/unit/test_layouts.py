"""From a top directory every log that can be read is found, and what cannot be is named; nothing of an attacker's is a log."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from decnet.config import SensorSettings, SensorSpec, Settings
from decnet.sensors import group as group_module
from decnet.sensors import layouts
from decnet.sensors.files.checkpoint import FileStore
from decnet.sensors.formats.shelf import shipped
from decnet.sensors.group import SensorGroup, is_top
from decnet.sensors.layouts import MAX_DEPTH, MAX_ENTRIES, TOPS, Finder
from decnet.sensors.run import SensorRun
from decnet.sensors.worker import SensorsWorker
from tests.unit.test_passed_over import CANARY, Bus, visit

TTY = "ab" * 32
EVE = shipped().tables["suricata_eve"].sample.encode()
AUTH = shipped().tables["heralding"].sample.encode()
HERALDING_SESSION = (
    b'{"session_id": "s1", "num_auth_attempts": 1, "auth_attempts": [{"username": "a", "password": "b"}]}\n'
)


def lay(top: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(data)
    return top


def tpot(top: Path) -> Path:
    return lay(top, {
        "cowrie/log/cowrie.json": visit(20), "cowrie/log/cowrie.json.1.gz": gzip.compress(visit(0)),
        "cowrie/log/cowrie.json-20260301.gz": gzip.compress(visit(10)), "cowrie/log/cowrie.log": b"text\n",
        f"cowrie/log/tty/{TTY}": b"\0\1", "cowrie/downloads/evil.json": visit(66), "cowrie/keys/key.pem": b"x\n",
        "opencanary/log/opencanary.log": CANARY, "glutton/log/glutton.log": visit(67),
        "dionaea/binaries/x": b"MZ", "dionaea/roots/ftp/eve.json": EVE, "suricata/log/eve.json": EVE,
        "suricata/log/suricata.log": b"started\n", "honeytrap/log/attackers.json": b"{}\n",
        "heralding/log/auth.csv": AUTH, "heralding/log/log_session.json": HERALDING_SESSION,
        "elk/data/nodes/0": b"x\n", "nginx/log/access.log": b"x\n", "tpot.log": b"up\n",
    })  # fmt: skip


def dshield(top: Path) -> Path:
    return lay(top, {
        "srv/cowrie/var/log/cowrie/cowrie.json": visit(10), "srv/cowrie/var/log/cowrie/cowrie.json.2026-03-01": visit(0),
        f"srv/cowrie/var/lib/cowrie/tty/{TTY}": b"\0", "srv/cowrie/var/lib/cowrie/downloads/x.json": visit(66),
        "srv/db/webhoneypot.json": b'{"time": 1}\n', "var/log/dshield.log": b"1772 host kernel: DROP\n",
        "srv/dshield/DShield.pem": b"x\n", "srv/log/isc-agent.out": b"x\n",
    })  # fmt: skip


def checkout(top: Path) -> Path:
    return lay(top, {
        "var/log/cowrie/cowrie.json": visit(0), "var/lib/cowrie/downloads/a.json": visit(66), "etc/cowrie.cfg": b"[x]\n",
        "honeyfs/etc/passwd": b"root\n", "README.rst": b"Cowrie\n", ".git/HEAD": b"ref\n", "var/lib/cowrie/tty/" + TTY: b"\0",
    })  # fmt: skip


def volume(top: Path) -> Path:
    return lay(
        top,
        {"cowrie-var/_data/log/cowrie/cowrie.json": visit(0), "other/_data/db.sqlite": b"SQLite format 3\0"},
    )


def group(kind: Any, top: Path, tmp_path: Path) -> SensorGroup:
    settings = Settings(data_dir=tmp_path / "data", sensor=SensorSettings(poll_s=0.01))
    bus, store = Bus(), FileStore(tmp_path / "state")

    def make(spec: SensorSpec) -> SensorRun:
        return SensorRun(spec, settings, b"k", bus, store)  # type: ignore[arg-type]

    made = SensorGroup(SensorSpec(kind=kind, path=top), settings, make)
    made.bus = bus  # type: ignore[attr-defined]
    return made


async def read(made: SensorGroup) -> list[dict[str, Any]]:
    while await made.step():
        pass
    return made.rows()


def found(rows: list[dict[str, Any]], top: Path) -> dict[str, tuple[str, int]]:
    """SourcePosition → kind and lines, of the rows that are places with logs."""
    return {
        str(Path(row["path"]).relative_to(top)): (row["kind"], row["lines"]) for row in rows if "lines" in row
    }


def passed(rows: list[dict[str, Any]], top: Path) -> dict[str, str]:
    return {str(Path(path).relative_to(top)): why for row in rows for path, why in row["passed_over"].items()}


@pytest.mark.parametrize("above", [False, True], ids=["/data", "the directory above"])
async def test_t_pots_logs_are_found_and_other_honeypots_are_named(tmp_path: Path, above: bool) -> None:
    top = tmp_path / "host"
    data = tpot(top / "data")
    made = group("tpot", top if above else data, tmp_path)
    rows = await read(made)
    assert found(rows, data) == {
        "cowrie/log": ("cowrie", 6), "opencanary/log": ("opencanary", 1), "suricata/log": ("table:suricata_eve", 10),
        "heralding/log": ("table:heralding", 5),
    }  # fmt: skip
    assert passed(rows, data) == {
        "cowrie/downloads": "files that attackers brought: never read as logs",
        "cowrie/keys/key.pem": "no log that any reader knows",
        "cowrie/log/cowrie.log": "no log of cowrie",
        "cowrie/log/tty": "a directory of terminal recordings: read with their sessions",
        "dionaea/binaries": "files that attackers brought: never read as logs",
        "dionaea/roots": "the files that a honeypot shows",
        "glutton": "no reader for glutton yet",
        "heralding/log/log_session.json": "Heralding's sessions: their log-ins are in the CSV log",
        "honeytrap/log/attackers.json": "no log that any reader knows",
        "suricata/log/suricata.log": "no log that any table reads",
        "elk": "no honeypot's log", "nginx": "no honeypot's log", "tpot.log": "no log that any reader knows",
    }  # fmt: skip
    assert made.at_end()
    assert [row["state"] for row in rows] == ["ok"] * 5
    assert [row["refused"] for row in rows if "refused" in row] == [0] * 4


@pytest.mark.parametrize("top", ["", "srv"])
async def test_dshields_logs_are_found_and_its_others_are_named(tmp_path: Path, top: str) -> None:
    home = dshield(tmp_path / "host")
    rows = await read(group("dshield", home / top, tmp_path))
    assert found(rows, home) == {"srv/cowrie/var/log/cowrie": ("cowrie", 4)}
    named = passed(rows, home)
    assert named["srv/db/webhoneypot.json"] == "no reader for dshield's web honeypot yet"
    assert named["srv/dshield"] == "no honeypot's log"
    assert named["srv/cowrie/var/lib/cowrie/downloads"] == "files that attackers brought: never read as logs"
    if not top:
        assert named["var/log/dshield.log"] == "no reader for dshield's firewall log yet"


@pytest.mark.parametrize(
    ("make", "place"), [(checkout, "var/log/cowrie"), (volume, "cowrie-var/_data/log/cowrie")]
)
@pytest.mark.parametrize("kind", ["cowrie", "tpot"])
async def test_a_checkout_of_cowrie_and_a_volume_of_docker_are_read_from_their_top(
    tmp_path: Path, make: Any, place: str, kind: str
) -> None:
    top = make(tmp_path / "top")
    assert is_top(SensorSpec(kind=kind, path=top))  # type: ignore[arg-type]
    rows = await read(group(kind, top, tmp_path))
    assert found(rows, top) == {place: ("cowrie", 2)}


def test_a_directory_with_logs_in_it_is_read_as_itself(tmp_path: Path) -> None:
    spec = SensorSpec(kind="cowrie", path=tmp_path)
    assert is_top(spec), "nothing is there yet"
    (tmp_path / "cowrie.json").write_bytes(b"")
    assert not is_top(spec)
    assert not is_top(SensorSpec(kind="cowrie", path=tmp_path / "cowrie.json"))
    assert not is_top(SensorSpec(kind="cowrie", path=tmp_path / "none"))


async def test_what_comes_later_is_found_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert group_module.LOOK_S == 30
    now = [1000.0]
    monkeypatch.setattr(group_module.time, "monotonic", lambda: now[0])
    top = tmp_path / "data"
    made = group("tpot", top, tmp_path)
    assert not made.at_end(), "it has not looked yet"
    (row,) = await read(made)
    assert (row["state"], row["problems"]) == ("missing", {str(top): "missing"})
    top.mkdir()
    now[0] += 30
    (row,) = await read(made)
    assert (row["state"], row["problems"]) == ("unreadable", {str(top): "no log that can be read below it"})
    lay(top, {"cowrie/log/cowrie.json": b""})
    now[0] += 29.9
    assert len(await read(made)) == 1
    now[0] += 0.1
    rows = await read(made)
    assert [(r["state"], r["kind"]) for r in rows] == [("ok", "tpot"), ("ok", "cowrie")]
    assert rows[1]["passed_over"] == {str(top / "cowrie/log/cowrie.json"): "empty"}, (
        "it is followed, and empty"
    )
    lay(top, {"cowrie/log/cowrie.json": visit(0)})
    assert found(await read(made), top) == {"cowrie/log": ("cowrie", 2)}
    assert await made.end_open_sessions("eof") > 0


async def test_an_empty_directory_of_cowries_is_read_once_a_log_comes(tmp_path: Path) -> None:
    made = group("cowrie", tmp_path, tmp_path / "elsewhere")
    assert [row["path"] for row in await read(made)] == [str(tmp_path)]
    lay(tmp_path, {"cowrie.json": visit(0)})
    assert found(await read(made), tmp_path) == {".": ("cowrie", 2)}


async def test_the_place_of_a_log_is_the_same_however_it_was_found(tmp_path: Path) -> None:
    top = tpot(tmp_path / "data")
    await read(group("tpot", top, tmp_path))
    run = group("tpot", top, tmp_path)._make(SensorSpec(kind="cowrie", path=top / "cowrie/log"))
    assert not await run.step(), "nothing is new to a sensor of its own"
    assert run.status()["lines"] == 6


@pytest.mark.parametrize("more", [0, 1])
def test_a_walk_is_bounded_and_says_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    assert (MAX_DEPTH, MAX_ENTRIES) == (8, 20_000)
    deep = tmp_path / "/".join("d" * (MAX_DEPTH + more))
    lay(deep, {"cowrie.json": visit(0)})
    layout = Finder(tmp_path, TOPS["tpot"]).look()
    assert layout.logs == ([] if more else [("cowrie", deep)])
    assert list(layout.passed.values()) == ([f"more than {MAX_DEPTH} directories down"] if more else [])
    wide = lay(tmp_path / "wide", {f"{i}.json": visit(i) for i in range(5 + more)})
    monkeypatch.setattr(layouts, "MAX_ENTRIES", 5)
    layout = Finder(wide, TOPS["tpot"]).look()
    assert layout.passed == ({str(wide): f"too many files: more than 5 below {wide}"} if more else {})


async def test_the_worker_has_a_row_for_each_place_and_for_the_top(tmp_path: Path) -> None:
    top = tpot(tmp_path / "data")
    specs = (
        SensorSpec(kind="tpot", path=top),
        SensorSpec(kind="cowrie", path=top / "cowrie/log/cowrie.json"),
    )
    worker = SensorsWorker(Settings(data_dir=tmp_path / "d", sensors=specs), FileStore(tmp_path / "s"))
    await worker.start(None, Bus())  # type: ignore[arg-type]
    assert not worker.at_end()
    for run in worker.runs:
        while await run.step():
            pass
    assert worker.at_end()
    health = worker.health()
    kinds = ["tpot", "cowrie", "opencanary", "table:heralding", "table:suricata_eve", "cowrie"]
    assert sorted(row["kind"] for row in health["sensors"]) == sorted(kinds)
    assert (health["lines_read"], health["lines_refused"], health["degraded"]) == (24, 0, "")
    assert (health["processed"], health["lines_left_out"]) == (24, 4)
    assert health["lag"] == 0


async def test_a_sensor_that_is_still_looking_is_not_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A walk takes its time: an engine that ends when nothing is left must not end meanwhile."""
    made = group("tpot", tpot(tmp_path / "data"), tmp_path)
    ends: list[bool] = []
    true_look = made._finder.look

    def look() -> Any:
        ends.append(made.at_end())
        return true_look()

    monkeypatch.setattr(made._finder, "look", look)
    await read(made)
    assert (ends, made.at_end()) == ([False], True)
