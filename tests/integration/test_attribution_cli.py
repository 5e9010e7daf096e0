"""identities, attribution, alerts: rows, text, what an operator may do, and clear errors."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from decnet.attribution.worker import handle_observation_event, tick_multi_actor
from decnet.db.repository import BaseRepository
from decnet.ids import attacker_id, identity_id
from decnet_tui.cli.main import app
from tests.simulator.pairs import pair_history

IP = "192.0.2.1"
A1 = attacker_id(IP)
I1 = identity_id(A1)
ESCAPE = "\x1b[2Jgone"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("attribution")
    asyncio.run(_fill(folder))
    return folder


async def _fill(folder: Path) -> None:
    repo = await BaseRepository.open(f"sqlite:///{folder / 'decnet.sqlite'}")
    await repo.upsert_attacker(A1, IP, 1000.0)
    await repo.upsert_attacker(attacker_id("192.0.2.2"), "192.0.2.2", 900.0)
    await repo.form_identities([A1, attacker_id("192.0.2.2")])
    for n in range(4):
        payload = {"value": ESCAPE, "attacker_uuid": A1, "ts": 1000.0 + n, "evidence_ref": f"r{n}"}
        assert await handle_observation_event(None, repo, {**payload, "primitive": "environmental.locale"})
        assert await handle_observation_event(None, repo, {**payload, "primitive": "operational.objective"})
    frame = {"attacker_uuid": A1, "identity_uuid": I1, "rank": "1"}
    past = pair_history(("client", "account", "work"), "in turn", 4).rows
    await repo.upsert_session_features([{**row, **frame} for row in past])
    assert await tick_multi_actor(None, repo, {}) == 1
    await repo.close()


def run(data: Path, *words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, [*words, "--data-dir", str(data)])
    assert done.exit_code == code, done.output
    return done.output


def rows(data: Path, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(data, *words, "--json"))
    return found


def test_rows_are_those_of_the_contract(data: Path) -> None:
    assert [set(row) for row in rows(data, "identities")] == [
        {
            "identity_uuid", "addresses", "attacker_uuids", "confidence", "reasons", "against", "merged_into", "state",
            "states",
        }
    ] * 2  # fmt: skip
    assert set(rows(data, "attribution")[0]) == {
        "identity_uuid", "primitive", "state", "current_value", "confidence", "observation_count", "last_change_ts",
        "last_observation_ts",
    }  # fmt: skip
    assert set(rows(data, "alerts")[0]) == {
        "alert_id", "identity_uuid", "attacker_uuids", "primitives", "families", "sides", "confidence", "state", "ts",
    }  # fmt: skip


def test_filters(data: Path) -> None:
    assert [row["identity_uuid"] for row in rows(data, "identities", "--attacker", IP)] == [I1]
    assert len(rows(data, "identities", "--limit", "1")) == 1
    assert len(rows(data, "attribution", "--limit", "1")) == 1
    assert len(rows(data, "attribution", "--attacker", IP)) == 2
    assert (
        rows(data, "attribution", "--attacker", "192.0.2.2")
        == rows(data, "attribution", "--since", "1h")
        == []
    )
    assert len(rows(data, "attribution", "--identity", I1, "--since", "1970-01-01")) == 2
    assert rows(data, "attribution", "--identity", f"i-{I1[:8]}") == rows(
        data, "attribution", "--identity", IP
    )
    assert len(rows(data, "alerts", "--session", "pair-003")) == 1
    assert rows(data, "alerts", "--session", "none") == rows(data, "alerts", "--state", "resolved") == []
    run(data, "alerts", "--state", "open?", code=2)


def test_text_is_for_people_and_hostile_values_stay_harmless(data: Path) -> None:
    assert "\x1b" not in run(data, "attribution")
    assert "2 stable" in run(data, "identities")
    alert = rows(data, "alerts")[0]["alert_id"]
    shown = run(data, "alerts", "show", alert)
    for word in ("several operators, or one with two toolkits", "for: ", "cannot be told: ", "side 2: "):
        assert word in shown
    assert json.loads(run(data, "alerts", "show", alert, "--json"))["explanation"]["switches"] >= 3


def test_acknowledge_then_resolve(data: Path) -> None:
    alert = rows(data, "alerts")[0]["alert_id"]
    assert "acknowledged" in run(data, "alerts", "ack", alert)
    assert rows(data, "alerts")[0]["state"] == "acknowledged"
    assert "resolved" in run(data, "alerts", "resolve", alert)
    assert rows(data, "alerts", "--state", "resolved")[0]["alert_id"] == alert
    assert "resolved already" in run(data, "alerts", "ack", alert, code=1)
    assert "no alert nothing" in run(data, "alerts", "resolve", "nothing", code=1)


def test_options_may_stand_before_the_subcommand(data: Path) -> None:
    done = CliRunner().invoke(app, ["alerts", "--data-dir", str(data), "show", "nothing"])
    assert done.exit_code == 1
    assert "no alert nothing" in done.output


def test_an_empty_database_says_what_would_fill_it(tmp_path: Path) -> None:
    asyncio.run(_empty(tmp_path))
    assert "no alerts" in run(tmp_path, "alerts")
    assert "nothing yet" in run(tmp_path, "attribution")
    assert rows(tmp_path, "alerts") == []


async def _empty(folder: Path) -> None:
    await (await BaseRepository.open(f"sqlite:///{folder / 'decnet.sqlite'}")).close()


def test_an_alert_whose_link_is_doubtful_says_so_and_names_the_addresses(tmp_path: Path) -> None:
    other = attacker_id("192.0.2.2")

    async def fill() -> None:
        repo = await BaseRepository.open(f"sqlite:///{tmp_path / 'decnet.sqlite'}")
        await repo.upsert_attackers([(A1, IP, 1000.0), (other, "192.0.2.2", 900.0)])
        await repo.form_identities([A1, other])
        past = pair_history(("client", "account", "work"), "in turn", 4)
        for attacker, side in ((A1, 0), (other, 1)):
            frame = {"attacker_uuid": attacker, "identity_uuid": identity_id(attacker), "rank": "1"}
            mine = [row for row, who in zip(past.rows, past.truth, strict=True) if who == side]
            await repo.upsert_session_features([{**row, **frame} for row in mine])
        await repo.merge_identities(I1, identity_id(other))
        assert await tick_multi_actor(None, repo, {}) == 1
        await repo.close()

    asyncio.run(fill())
    alert = rows(tmp_path, "alerts")[0]["alert_id"]
    shown = run(tmp_path, "alerts", "show", alert)
    assert "against: the sides are different addresses: it may be wrong that they were merged" in shown
    assert "link in doubt: 192.0.2.2 on side" in shown
    told = json.loads(run(tmp_path, "alerts", "show", alert, "--json"))["explanation"]["link"]
    assert (told["doubtful"], sorted(told["sides"])) == (True, sorted([[IP], ["192.0.2.2"]]))
