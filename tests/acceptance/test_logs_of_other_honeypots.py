"""Logs of other honeypots through an engine: events, rows and tags; T-Pot's tree in any order and twice; both databases."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from decnet.config import load_settings
from decnet.engine import Engine
from decnet.keyed import KEY_FILE
from decnet.sensors.formats.shelf import shipped
from tests.dbkit import KINDS, database_url
from tests.tpotkit import PLACES, tpot_tree

CASES = {
    case["id"]: case
    for case in json.loads(
        (Path(__file__).parents[1] / "fixtures" / "cases" / "producers.json").read_text("utf-8")
    )["cases"]
}
IDLE_S = 0.4
Row = dict[str, Any]
TABLES = {
    "session": "session_id, attacker_uuid, attacker_ip, decky_id, service, sensor_session, started_at, ended_at, end_reason,"
    " command_count, auth, client, facts, downloads, uploads, exploits, extras",
    "command": "command_id, session_id, command_text, ts",
    "credential": "credential_id, attacker_uuid, session_id, username, secret_hmac, first_seen, last_seen",
    "fingerprint": "fingerprint_id, attacker_uuid, kind, fields, decky_id, first_seen",
    "attacker": "attacker_uuid, ip, first_seen",
    "ttp_tag": "uuid, source_kind, source_id, rule_id",
}
"""All that a log leaves in the database. (When a fingerprint was seen last is known to the hour.)"""


def text_of(lines: list[Any] | str) -> str:
    if isinstance(lines, str):
        return lines
    return "".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in lines)


class World:
    """One data directory, read by one engine after the other."""

    def __init__(self, folder: Path, db: str | None = None) -> None:
        self.folder = folder
        self.db = db
        (folder / "data").mkdir(mode=0o700)
        (folder / "data" / KEY_FILE).write_bytes(hashlib.sha256(b"tests").digest())

    async def read(self, *sensors: tuple[str, Path]) -> dict[str, Any]:
        """What is stored after an engine has read some logs to their ends, and what its sensors say of them.

        Each engine has a loop of its own, and so a bus that knows of no event before.
        """
        return await asyncio.to_thread(asyncio.run, self._read(*sensors))

    async def _read(self, *sensors: tuple[str, Path]) -> dict[str, Any]:
        settings = load_settings(
            data_dir=self.folder / "data",
            db=self.db,
            bus={"type": "memory"},
            workers=("sensors", "recorder", "ttp"),
            ttp_rule_store_type="filesystem",
            sensors=[{"kind": kind, "path": str(path)} for kind, path in sensors],
        )
        engine = Engine(settings)
        await engine.start()
        try:
            assert await engine.until_idle(IDLE_S) is None
            async with engine.repo.db.read() as session:
                rows = {
                    name: sorted(
                        str(tuple(row))
                        for row in (await session.execute(text(f"SELECT {columns} FROM {name}"))).all()
                    )
                    for name, columns in TABLES.items()
                }
            assert engine.sensors is not None
            return {
                "rows": rows,
                "health": engine.sensors.health(),
                "tags": await engine.repo.list_tags(limit=0),
                "sessions": [
                    await engine.repo.session_payload(s["session_id"])
                    for s in await engine.repo.list_sessions(limit=0)
                ],
                "credentials": await self._all(
                    engine, "SELECT username, attacker_uuid, session_id FROM credential"
                ),
                "fingerprints": await self._all(
                    engine, "SELECT kind, fields, attacker_uuid, first_seen FROM fingerprint"
                ),
                "ips": dict(await self._all(engine, "SELECT attacker_uuid, ip FROM attacker")),
            }
        finally:
            await engine.stop(5.0)

    @staticmethod
    async def _all(engine: Engine, query: str) -> list[Any]:
        async with engine.repo.db.read() as session:
            return [tuple(row) for row in (await session.execute(text(query))).all()]


def rules_of(found: dict[str, Any]) -> dict[str, set[str]]:
    """Address → rules that tagged it."""
    out: dict[str, set[str]] = {}
    for tag in found["tags"]:
        out.setdefault(tag["attacker_ip"], set()).add(tag["rule_id"])
    return out


def prints_of(found: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Address → type and value of its (only) fingerprint."""
    out = {}
    for kind, fields, uuid, _ in found["fingerprints"]:
        known = json.loads(fields) if isinstance(fields, str) else fields
        if kind not in ("ja3", "http_request"):
            out[found["ips"][uuid]] = (kind, known.get(kind))
    return out


async def test_a5_suricata(tmp_path: Path) -> None:
    case = CASES["A5"]
    log = tmp_path / "eve.json"
    log.write_text(text_of(case["input"]["lines"]))
    found = await World(tmp_path).read(("table", log))
    expected = case["expect"]
    assert {ip: kind for ip, (kind, _) in prints_of(found).items()} == {
        one["attacker_ip"]: one["type"] for one in expected["fingerprints"]
    }
    (ja4,) = [seen for kind, _, _, seen in found["fingerprints"] if kind == "ja4"]
    assert str(ja4).startswith("2026-03-04 03:10:01.000001")
    (session,) = found["sessions"]
    assert session.items() >= expected["session"].items()
    (row,) = [row for row in found["health"]["sensors"] if row["kind"] == "table:suricata_eve"]
    assert row["reasons"] == expected["refused"]
    assert row["last_refusal"] == f"{log}:5: not_json"
    fired = rules_of(found)
    wanted = {
        "203.0.113.70": "L0708",
        "203.0.113.71": "L0705",
        "203.0.113.72": "L0704",
        "203.0.113.73": "L0105",
    }
    assert {ip for ip, rule in wanted.items() if rule not in fired.get(ip, set())} == set()
    assert set(wanted.values()) == set(expected["rules"])


def a6_tree(top: Path) -> Path:
    for name, lines in CASES["A6"]["input"]["files"].items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(text_of(lines).encode())
    return top


async def test_a6_t_pot(tmp_path: Path) -> None:
    expected = CASES["A6"]["expect"]
    top = a6_tree(tmp_path / "data-of-tpot")
    world = World(tmp_path)
    found = await world.read(("tpot", top))
    (wanted,) = expected["fingerprints"]
    assert prints_of(found) == {wanted["attacker_ip"]: (wanted["type"], wanted["value"])}
    health = found["health"]
    assert (health["values_not_derived"], health["lines_refused"]) == (expected["not_derived"], 0)
    assert sorted((user, found["ips"][uuid]) for user, uuid, _ in found["credentials"]) == sorted(
        (one["user"], one["attacker_ip"]) for one in expected["logins"]
    )
    assert [c["command_text"] for s in found["sessions"] for c in s["commands"]] == expected["commands"]
    fired = rules_of(found)
    assert fired["203.0.113.80"] >= {"L0707"}
    assert fired["203.0.113.83"] >= {"L0605"}
    assert fired["203.0.113.86"] >= {"L0103"}
    assert fired["203.0.113.87"] >= {"L0102"}
    assert {"L0707", "L0605", "L0103", "L0102"} == set(expected["rules"])
    assert 'p"w' not in json.dumps(found["rows"]), "no password is stored in clear"
    # A second time, and file by file, each a sensor of its own: nothing is new.
    again = await world.read(
        *(("table", top / name) for name in sorted(CASES["A6"]["input"]["files"], reverse=True))
    )
    assert again["rows"] == found["rows"]


@pytest.mark.parametrize("database", KINDS)
async def test_t_pots_tree_gives_the_same_rows_in_any_order_and_twice(tmp_path: Path, database: str) -> None:
    whole, rotated = tpot_tree(tmp_path / "whole"), tpot_tree(tmp_path / "rotated", halves=2)
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    async with database_url(database, tmp_path) as first, database_url(database, tmp_path) as second:
        world, other = World(tmp_path / "one", first), World(tmp_path / "two", second)
        once = await world.read(("tpot", whole))
        health = once["health"]
        kinds = {row["kind"] for row in health["sensors"]}
        assert kinds == {"tpot", *(f"table:{name}" for name in PLACES)}
        assert (health["lines_refused"], health["lines_unknown"], health["formats_failed"]) == (1, 0, 0)
        assert len(once["sessions"]) == sum(
            event["event"] == "session"
            for table in shipped().tables.values()
            for event in table.expected.events
        )
        assert not [ip for ip in once["ips"].values() if ip.startswith("198.51.100")], (
            "what attackers bring is no log"
        )
        named = {
            Path(path).name: why
            for row in health["sensors"]
            for path, why in row.get("passed_over", {}).items()
        }
        assert named == {"binaries": "files that attackers brought: never read as logs"}
        # The same logs, rotated, in another order, by sensors that know nothing of what was read.
        again = await world.read(("tpot", rotated))
        assert again["rows"] == once["rows"]
        # The older halves first, file by file and backwards; then everything again, by content alone.
        older = tpot_tree(tmp_path / "older", halves=1)
        backwards = [("table", older / place) for place in reversed(PLACES.values())]
        await other.read(*backwards)
        assert (await other.read(("table", rotated)))["rows"] == once["rows"]
