"""The journal on both databases, and what commands of the shell write into it."""

from __future__ import annotations

import asyncio
import getpass
import json
import re
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from decnet.bus.connection import Connection, write_connection
from decnet.bus.nats.connection import NatsBus
from decnet.bus.nats.server import EmbeddedServer
from decnet.config import BusSettings
from decnet.db.repository import BaseRepository
from decnet.ids import attacker_id
from decnet_tui.actions import workers
from decnet_tui.actions.rules import RuleChange
from decnet_tui.actions.undo import undoable
from decnet_tui.cli.main import app
from tests.dbkit import KINDS, open_repo
from tests.integration.test_console_flows import IP, filled
from tests.linkrows import address, identity_of

FLEET = "fleet: lab\nsubstrate: dry_run\ndeckies:\n  - {name: a-01, archetype: printer}\n"
ME = f"{getpass.getuser()}@cli"
RULE = """\
rule_id: R9001
rule_version: 1
name: uname
description: "Somebody asks what system it is."
applies_to: [command]
match: {pattern: "uname"}
evidence_fields: [command_text]
references: ["https://attack.mitre.org/techniques/T1082/"]
tests: {match: ["uname -a"], no_match: ["ls"]}
emits:
  - {tactic: TA0007, technique_id: T1082, confidence: 0.5}
"""
SAVED, VERIFIED = "saved, not yet reported", "verified"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_change_is_written_before_and_completed_after(kind: str, tmp_path: Path) -> None:
    async with open_repo(kind, tmp_path) as repo:
        change: dict[str, Any] = {"operator": "eve", "kind": "rule.state", "target": "R0001"}
        first = await repo.journal_add(**change, what="a\x00\ud800", before={"state": "enabled"}, after=None)
        second = await repo.journal_add(**change, what="undo", before=None, after=None, undoes=first)
        await repo.journal_end(first, "verified", "store and engine agree")
        await repo.journal_end(10_000, "verified")
        newest, oldest = await repo.journal()
        assert (newest["id"], newest["outcome"], newest["undoes"]) == (second, "sent", first)
        assert (oldest["outcome"], oldest["before"]) == ("verified", {"state": "enabled"})
        assert oldest["ts"].tzinfo is not None
        assert await repo.journal_get(first) == oldest
        assert await repo.journal_get(10_000) is None
        assert [row["id"] for row in await repo.journal(limit=1)] == [second]


def on(folder: Path, do: Callable[[BaseRepository], Awaitable[Any]]) -> Any:
    """What a function says of the database of a data directory."""

    async def ask() -> Any:
        repo = await BaseRepository.open(f"sqlite:///{folder / 'decnet.sqlite'}")
        try:
            return await do(repo)
        finally:
            await repo.close()

    return asyncio.run(ask())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    on(tmp_path, lambda repo: filled(repo, time.time()))
    return tmp_path


def run(data: Path, *words: str | Path, code: int = 0) -> str:
    done = CliRunner().invoke(app, [*map(str, words), "--data-dir", str(data)])
    assert done.exit_code == code, done.output
    return done.output


def newest(data: Path) -> dict[str, Any]:
    """The newest entry, without what differs from run to run."""
    entry: dict[str, Any] = on(data, lambda repo: repo.journal(limit=1))[0]
    assert entry["operator"] == ME
    return entry


def test_a_rule_changed_by_a_command_stands_in_the_journal(data: Path) -> None:
    assert run(data, "rules", "clip", "R0012", "--max", "0.4", "--reason", "noisy") == "R0012 clipped\n"
    entry = newest(data)
    assert (entry["kind"], entry["target"], entry["what"]) == (
        "rule.state",
        "R0012",
        "R0012 clipped to 0.40",
    )
    assert entry["before"]["state"] == "enabled"
    assert (entry["after"]["state"], entry["after"]["confidence_max"]) == ("clipped", 0.4)
    assert (entry["reason"], entry["outcome"]) == ("noisy", SAVED)
    assert not undoable(entry)
    assert run(data, "rules", "disable", "R0012", "--for", "1h").startswith("R0012 disabled until ")
    assert (newest(data)["before"]["confidence_max"], newest(data)["after"]["state"]) == (0.4, "disabled")
    assert run(data, "rules", "enable", "R0012") == "R0012 enabled\n"
    (row,) = [r for r in json.loads(run(data, "rules", "list", "--json")) if r["rule_id"] == "R0012"]
    assert (row["state"], row["set_by"]) == ("enabled", ME)


def test_what_was_never_tried_is_no_entry(data: Path) -> None:
    assert "no rule R9999" in run(data, "rules", "disable", "R9999", code=1)
    assert "no entry x" in run(data, "ignore", "remove", "x", code=1)
    assert "no decoy x" in run(data, "fleet", "mutate", "x", code=1)
    assert "no alert x" in run(data, "alerts", "ack", "x", code=1)
    assert on(data, lambda repo: repo.journal()) == []


def test_an_ignored_source_and_its_end(data: Path) -> None:
    assert "1 session marked" in run(data, "ignore", "203.0.113.9/24", "--for", "1h", "--reason", "ours")
    entry = newest(data)
    assert (entry["target"], entry["before"], entry["outcome"]) == (
        "203.0.113.9/24",
        {"ignored": False},
        VERIFIED,
    )
    assert (entry["after"]["ignored"], entry["reason"]) == (True, "ours")
    (row,) = json.loads(run(data, "ignore", "list", "--json"))
    run(data, "ignore", "remove", row["ignore_id"])
    entry = newest(data)
    assert (entry["what"], entry["outcome"]) == ("ignore 203.0.113.0/24 no longer", VERIFIED)
    assert (entry["before"]["reason"], entry["after"]) == ("ours", {"ignored": False})
    assert not undoable(entry)


def test_all_addresses_of_an_identity_are_ignored_as_one_change(data: Path) -> None:
    run(data, "ignore", "45.9.148.3", "--reason", "before", code=0)
    on(data, linked)
    said = run(data, "ignore", "45.9.148.2", "--identity", "--reason", "ours")
    label = f"i-{identity_of('45.9.148.2')[:8]}"
    assert re.match(rf"{label}: 2 addresses are ignored until \S+ \S+Z: 45.9.148.2, 45.9.148.4", said)
    entry = newest(data)
    assert (entry["kind"], entry["target"], entry["outcome"]) == ("source.ignore.all", label, VERIFIED)
    assert entry["before"] == {"45.9.148.2": False, "45.9.148.4": False}
    reasons = {row["value"]: row["reason"] for row in json.loads(run(data, "ignore", "list", "--json"))}
    assert reasons == {"45.9.148.2/32": "ours", "45.9.148.3/32": "before", "45.9.148.4/32": "ours"}
    assert not undoable(entry)
    assert "no identity has the address 192.0.2.77" in run(data, "ignore", "192.0.2.77", "--identity", code=1)
    assert "--identity goes with an address" in run(data, "ignore", "list", "--identity", code=2)


async def linked(repo: BaseRepository) -> None:
    """Three addresses that are one identity."""
    for n in (2, 3, 4):
        await address(repo, f"45.9.148.{n}", into="45.9.148.2" if n > 2 else None)


def test_what_is_no_source_is_refused_and_said(data: Path) -> None:
    assert "is no address and no network" in run(data, "ignore", "192.0.2.999", code=1)
    assert newest(data)["outcome"] == "NOT APPLIED"


def test_fleet_commands(data: Path, tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(FLEET)
    run(data, "fleet", "apply", tmp_path / "fleet.yaml")
    entry = newest(data)
    assert (entry["target"], entry["after"], entry["outcome"], entry["detail"]) == (
        "lab",
        {"deckies": ["a-01"]},
        SAVED,
        "1 added",
    )
    run(data, "fleet", "interval", "a-01", "12h")
    entry = newest(data)
    assert (entry["before"], entry["after"]) == (
        {"mutate_interval": "inherit"},
        {"mutate_interval": "12h"},
    )
    assert entry["outcome"] == VERIFIED
    assert "soon" in run(data, "fleet", "interval", "a-01", "soon", code=1)
    assert newest(data)["outcome"] == "NOT APPLIED"
    said = json.loads(run(data, "fleet", "mutate", "a-01", "--reason", "drill", "--json"))
    assert (said["state"], said["engine"], said["reason"]) == ("enqueued", False, "drill")
    entry = newest(data)
    assert (entry["kind"], entry["target"], entry["reason"], entry["outcome"]) == ("decky.mutate", "a-01", "drill", SAVED)  # fmt: skip
    row = on(data, lambda repo: repo.mutation_get(said["mutation_id"]))
    assert (row["requested_by"], row["payload"]["request_id"]) == (ME, entry["after"]["request_id"])


def test_an_alert_is_acknowledged_and_resolved_by_its_actors_address(data: Path) -> None:
    async def suspect(repo: BaseRepository) -> None:
        await repo.raise_alert({"alert_id": "a1", "identity_uuid": "7c1e9a02-0", "attacker_uuids": [attacker_id(IP)],
                                "sides": [["s1"]], "families": ["client"], "primitives": [], "confidence": 0.6,
                                "explanation": {}, "ts": time.time()})  # fmt: skip

    on(data, suspect)
    alert = json.loads(run(data, "alerts", "--json"))[0]["alert_id"]
    assert run(data, "alerts", "ack", alert) == f"{alert}: acknowledged\n"
    assert (newest(data)["what"], newest(data)["outcome"]) == (f"alert {IP} acknowledged", VERIFIED)
    assert run(data, "alerts", "resolve", alert) == f"{alert}: resolved\n"
    assert newest(data)["what"] == f"alert {IP} resolved"
    assert run(data, "alerts", "ack", alert, code=1) == f"error: alert {alert} is resolved already\n"
    assert newest(data)["outcome"] == "NOT APPLIED"


async def test_with_an_engine_the_news_verify_and_a_dead_letter_goes_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "DUPLICATE_WINDOW_S", 0.0)
    url = f"sqlite:///{tmp_path / 'decnet.sqlite'}"
    repo = await BaseRepository.open(url)
    await filled(repo, time.time())
    server = EmbeddedServer(tmp_path, BusSettings())
    await server.start()
    bus = NatsBus(server.url, token=server.token, settings=BusSettings())
    await bus.connect()
    write_connection(tmp_path, Connection(server.url, url, server.token))
    try:
        async with asyncio.TaskGroup() as group:
            reporting = group.create_task(_report_states(repo, bus))
            await asyncio.to_thread(run, tmp_path, "rules", "disable", "R0001", "--reason", "noisy")
            reporting.cancel()
        (entry,) = await repo.journal()
        assert (entry["outcome"], entry["detail"]) == (
            VERIFIED,
            "store and ttp.rule.state.R0001 agree",
        )
        monkeypatch.setattr(RuleChange, "wait_s", 0.2)
        said = await asyncio.to_thread(run, tmp_path, "rules", "enable", "R0001")
        assert "note: R0001 enabled: saved, not yet reported; does the worker ttp run?" in said
        (letter,) = await repo.dead_letters(None, 0)
        said = await asyncio.to_thread(run, tmp_path, "deadletters", "retry", str(letter["id"]))
        assert said == f"dead letter {letter['id']}: attacker.observed is on the bus again\n"
        assert await repo.dead_letters(None, 0) == []
        place = {"path": "commands[1].ts", "value": "'so\x1bon'"}
        element = await repo.dead_letter_add("recorder", "a.b", "malformed", 8, b"{}", key="k", **place)
        said = await asyncio.to_thread(run, tmp_path, "deadletters")
        assert "commands[1].ts" in said
        assert "'so\\eon'" in said
        said = await asyncio.to_thread(run, tmp_path, "deadletters", "retry", str(element), code=1)
        assert "is one element, commands[1].ts, of an event whose rest was kept" in said
        assert [row["id"] for row in await repo.dead_letters()] == [element], "it is still there"
        newest = next(entry for entry in await repo.journal() if entry["outcome"] == SAVED)
        assert (newest["kind"], newest["operator"], newest["outcome"]) == ("deadletter.retry", ME, SAVED)
        assert newest["detail"] == "it is on the bus again"
    finally:
        await bus.close()
        await server.stop()
        await repo.close()


async def _report_states(repo: BaseRepository, bus: NatsBus) -> None:
    """What the engine's rule store does: it tells of states that it finds."""
    while not (states := await repo.rule_states()):
        await asyncio.sleep(0.05)
    for rule_id, row in states.items():
        await bus.publish(f"ttp.rule.state.{rule_id}", {"rule_id": rule_id, "state": row["state"]})


def test_a_source_is_ignored_for_a_week_where_nobody_says_otherwise(data: Path) -> None:
    run(data, "ignore", "198.51.100.1")
    run(data, "ignore", "198.51.100.2", "--for", "forever")
    ends = {row["value"]: row["expires_at"] for row in json.loads(run(data, "ignore", "list", "--json"))}
    assert ends["198.51.100.2/32"] is None
    left = datetime.fromisoformat(ends["198.51.100.1/32"]).timestamp() - time.time()
    assert abs(left - 7 * 86_400) < 120


def test_a_purge_and_a_back_fill_of_the_shell_stand_in_the_journal(data: Path, tmp_path: Path) -> None:
    run(data, "purge", "--older-than", "90d", "--yes")
    entry = newest(data)
    assert (entry["kind"], entry["operator"], entry["outcome"]) == ("purge", ME, VERIFIED)
    assert entry["what"].startswith("purge of what ended before 20")
    assert "deleted" in entry["detail"]
    assert undoable(entry)
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "R9001.yaml").write_text(RULE)
    run(data, "backfill", "--since", "1d", "--rules", rules)
    entry = newest(data)
    assert (entry["kind"], entry["target"], entry["outcome"]) == ("rule.backfill", "all rules", VERIFIED)
    assert "judged by 1 rule: " in entry["detail"]
    before = len(on(data, lambda repo: repo.journal()))
    run(data, "backfill", "--since", "1d", "--journalled", "--rules", rules)
    assert len(on(data, lambda repo: repo.journal())) == before, "who asked for it has written it down"


def test_an_alert_is_meant_by_the_beginning_of_its_id(data: Path) -> None:
    alert = on(data, raised)
    run(data, "alerts", "ack", alert[:8])
    assert newest(data)["target"] == alert
    assert "open" not in run(data, "alerts", "show", alert[:6])
    assert "no alert" in run(data, "alerts", "ack", "zzzz", code=1)


async def raised(repo: BaseRepository) -> str:
    row = await repo.raise_alert({
        "identity_uuid": identity_of(IP), "attacker_uuids": [attacker_id(IP)], "families": ["client"], "primitives": ["p"],
        "sides": [["s1"], ["s2"]], "confidence": 0.6, "ts": time.time(), "explanation": {},
    })  # fmt: skip
    return row["alert_id"]
