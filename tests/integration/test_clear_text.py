"""The clear text of captured secrets: nowhere, unless the operator asks for it, and then only where he asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text as sql
from typer.testing import CliRunner

from decnet.bus.base import Event
from decnet.config import Settings, load_settings
from decnet.db.repository import BaseRepository
from decnet.events.credential import Captured
from decnet.home import packaged_demo_dir
from decnet.keyed import login_label
from decnet.recorder.worker import RecorderWorker
from decnet.runtime.received import received
from decnet.runtime.worker import Transaction
from decnet.sensors.files.tailer import Line
from decnet.sensors.opencanary import OpenCanarySource
from decnet.sensors.sources import CowrieSource
from decnet.ttp.events import tagger_events
from decnet.ttp.evidence import checked_evidence
from decnet_tui.cli.main import app
from decnet_tui.summary import summarise
from tests.dbkit import migrated
from tests.wirekit import taken

SECRET, KEY = "Tr0ub4dor&3x", b"k" * 32
CANARY = {
    "dst_host": "10.0.0.1", "dst_port": 21, "local_time": "2026-03-01 10:00:00.000000", "logtype": 2000, "node_id": "n",
    "src_host": "192.0.2.8", "src_port": 4000, "logdata": {"USERNAME": "ftp", "PASSWORD": SECRET},
}  # fmt: skip


def cowrie(event: str, at: float, **more: Any) -> dict[str, Any]:
    base = {"eventid": f"cowrie.{event}", "timestamp": 1_600_000_000 + at, "session": "s1", "sensor": "d1"}
    return {**base, "src_ip": "192.0.2.7", **more}


COWRIE = [
    cowrie("session.connect", 0),
    cowrie(
        "login.success",
        1,
        username="root",
        password=SECRET,
        message=f"login attempt [root/{SECRET}] succeeded",
    ),
    cowrie("session.closed", 2),
]


def _settings(folder: Path, keep_clear: bool) -> Settings:
    return load_settings(data_dir=folder, credentials={"keep_clear": keep_clear})


def _events(settings: Settings, rows: list[dict[str, Any]], made: Callable[..., Any]) -> list[Event]:
    source = made(settings, KEY)
    lines = [Line("f", i, 0, json.dumps(row).encode()) for i, row in enumerate(rows, 1)]
    events = source.feed(lines)
    assert SECRET not in json.dumps(source.to_state()), "no checkpoint holds it either"
    return list(events)


def _all(settings: Settings) -> list[Event]:
    return _events(settings, COWRIE, CowrieSource) + _events(settings, [CANARY], OpenCanarySource)


async def _stored(folder: Path, settings: Settings, events: list[Event]) -> None:
    repo = await BaseRepository.open(await migrated(folder / "decnet.sqlite"))
    async with repo.transaction() as bound:
        tx = Transaction(bound)
        await RecorderWorker(settings).handle(taken(events), tx)
        assert not tx.dead
    await repo.close()


async def _holding(folder: Path, wanted: str) -> set[tuple[str, str]]:
    """(table, column) of everything in the database that holds a text."""
    repo = await BaseRepository.open(f"sqlite:///{folder / 'decnet.sqlite'}")
    found: set[tuple[str, str]] = set()
    async with repo.db.read() as connection:
        tables = await connection.execute(sql("SELECT name FROM sqlite_master WHERE type = 'table'"))
        for (table,) in tables.all():
            for row in (await connection.execute(sql(f'SELECT * FROM "{table}"'))).mappings():
                found |= {(table, name) for name, value in row.items() if wanted in str(value)}
    await repo.close()
    return found


def _said(folder: Path, *words: str, clear: bool = False) -> str:
    env = {"DECNET_CREDENTIALS__KEEP_CLEAR": str(clear).lower()}
    done = CliRunner().invoke(app, [*words, "--data-dir", str(folder)], env=env)
    assert done.exit_code == 0, done.output
    return done.output


EVERY_WORD = (
    ("credentials",), ("credentials", "--json"), ("find", "root"), ("find", "root", "--json"), ("find", SECRET),
    ("sessions", "--json"), ("attackers", "--json"), ("summary", "--json"), ("identities", "--json"),
)  # fmt: skip
EXPORTS = (("export", "jsonl"), ("export", "csv"))


def _exported(folder: Path) -> str:
    out = []
    for number, words in enumerate(EXPORTS):
        _said(folder, *words, "-o", str(folder / f"out{number}"))
        out.append((folder / f"out{number}").read_text("utf-8"))
    return "".join(out)


def test_without_the_setting_no_event_table_list_or_export_holds_a_secret(tmp_path: Path) -> None:
    settings = _settings(tmp_path, keep_clear=False)
    events = _all(settings)
    captured = [e.payload for e in events if e.topic == "credential.captured"]
    assert [(p["username"], "secret" in p) for p in captured] == [("root", False), ("ftp", False)]
    assert SECRET not in json.dumps([e.payload for e in events])
    asyncio.run(_stored(tmp_path, settings, events))
    assert asyncio.run(_holding(tmp_path, SECRET)) == set()
    digest = captured[0]["secret_hmac"]
    for words in EVERY_WORD:
        assert SECRET not in _said(tmp_path, *words), words
        assert SECRET not in _said(tmp_path, *words, clear=True), "nothing was kept, so nothing can be shown"
    for words in (("credentials",), ("find", "root")):
        assert f"root/#{digest[:4]}" in _said(tmp_path, *words)
    assert SECRET not in _exported(tmp_path)


def test_with_the_setting_it_is_kept_in_its_column_and_shown_where_it_is_asked_for(tmp_path: Path) -> None:
    settings = _settings(tmp_path, keep_clear=True)
    events = _all(settings)
    holding = [e for e in events if SECRET in json.dumps(e.payload)]
    assert {e.topic for e in holding} == {"credential.captured"}
    assert all({k for k, v in e.payload.items() if v == SECRET} == {"secret"} for e in holding)
    plain = _all(_settings(tmp_path, keep_clear=False))
    assert [(e.topic, e.id) for e in events] == [(e.topic, e.id) for e in plain], "ids know nothing of it"
    asyncio.run(_stored(tmp_path, settings, events))
    assert asyncio.run(_holding(tmp_path, SECRET)) == {("credential", "secret")}
    assert f"root/{SECRET}" in _said(tmp_path, "credentials", clear=True)
    assert {row["secret"] for row in json.loads(_said(tmp_path, "credentials", "--json", clear=True))} == {
        SECRET
    }
    assert f"ftp/{SECRET}" in _said(tmp_path, "find", SECRET, clear=True)
    for words in EVERY_WORD:
        assert SECRET not in _said(tmp_path, *words), "switched off again: shown nowhere"
    assert SECRET not in _exported(tmp_path)


def test_what_came_before_the_setting_stays_without_and_a_sender_that_keeps_it_decides_nothing(
    tmp_path: Path,
) -> None:
    off, on = _settings(tmp_path, keep_clear=False), _settings(tmp_path, keep_clear=True)
    asyncio.run(_stored(tmp_path, off, _all(on)))
    assert asyncio.run(_holding(tmp_path, SECRET)) == set(), (
        "the recorder drops what a sensor sent on its own account"
    )

    async def again() -> None:
        repo = await BaseRepository.open(f"sqlite:///{tmp_path / 'decnet.sqlite'}")
        async with repo.transaction() as bound:
            await RecorderWorker(on).handle(taken(_all(on)), Transaction(bound))
        await repo.close()

    asyncio.run(again())
    assert asyncio.run(_holding(tmp_path, SECRET)) == set(), "for new rows only"


def test_no_evidence_holds_a_secret_that_was_kept(tmp_path: Path) -> None:
    events = [e for e in _all(_settings(tmp_path, keep_clear=True)) if e.topic == "credential.captured"]
    judged = [tagged for event in events for tagged in tagger_events(received(event))]
    assert {tagged.source_kind for tagged in judged} == {"credential", "auth_attempt"}
    for tagged in judged:
        why = {"field": "secret", "matched": "x", "secret": tagged.payload.get("secret")}
        assert SECRET not in json.dumps(checked_evidence(tagged.source_kind, why))


def test_no_password_of_the_demo_log_leaves_the_sensor(tmp_path: Path) -> None:
    rows = [
        json.loads(line) for line in (packaged_demo_dir() / "cowrie.json").read_text("utf-8").splitlines()
    ]
    others = json.dumps([{k: v for k, v in row.items() if k not in ("password", "message")} for row in rows])
    typed = {str(row["password"]) for row in rows if row.get("password")}
    only_secrets = {secret for secret in typed if len(secret) >= 5 and secret not in others}
    assert len(only_secrets) >= 3, "the demo holds passwords that stand nowhere else"
    told = json.dumps([e.payload for e in _events(_settings(tmp_path, keep_clear=False), rows, CowrieSource)])
    assert [secret for secret in only_secrets if secret in told] == []


@pytest.mark.parametrize(
    ("user", "digest", "secret", "label"),
    [("root", "a1b2c3", None, "root/#a1b2"), ("root", "a1b2c3", "toor", "root/toor"), ("root", "a1b2", "", "root/"),
     (None, "a1b2c3", None, "/#a1b2"), ("root", None, None, "root"), (None, None, None, "-")],
)  # fmt: skip
def test_a_log_in_in_one_word(user: str | None, digest: str | None, secret: str | None, label: str) -> None:
    assert login_label(user, digest, secret) == label


def test_traffic_shows_the_hash_and_the_record_keeps_what_it_was_given() -> None:
    payload = {
        "attacker_ip": "192.0.2.7",
        "username": "root",
        "secret_hmac": "a1b2c3",
        "secret": SECRET,
        "success": False,
    }
    shown = summarise("credential.captured", payload)
    assert "root/#a1b2" in shown
    assert SECRET not in shown
    assert Captured.parse(payload).build()["secret"] == SECRET
