"""Alerts and fleet over a real database: what is shown, and that no end of a change is made up."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from decnet.db.repository import BaseRepository
from decnet.decoys.canary.minting import minted
from decnet.ids import attacker_id, identity_id
from decnet.mutator.fleet import load_fleet
from decnet.mutator.rows import Tools, apply_fleet
from decnet_tui.app import DecnetApp
from decnet_tui.model.feed import Feed
from decnet_tui.screens.fleet import FleetView
from tests.consolekit import StoreSession, screen_text, shows
from tests.dbkit import open_repo
from tests.integration.test_console_app import SETTINGS

IP = "203.0.113.7"
A = attacker_id(IP)
FLEET = """\
fleet: lab
substrate: dry_run
mutate_interval: never
deckies:
  - {name: web-01, archetype: web-server, services: [http]}
"""


@pytest.fixture
async def repo(tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo("sqlite", tmp_path) as made:
        await made.upsert_attackers([(A, IP, 1000.0)])
        await made.form_identities([A])
        for number in range(2):
            payload = {"session_id": f"s{number}", "attacker_uuid": A, "attacker_ip": IP, "started_at": 1000.0 + number,
                       "ended_at": 1010.0 + number, "client": {"version": f"SSH-2.0-tool{number}"}, "auth": {"usernames": ["root"]}}  # fmt: skip
            await made.upsert_session(payload)
        why = {"claim": "several operators, or one with two toolkits", "score": 12.3, "threshold": 4.2, "sessions": 2, "switches": 1,
               "support": [{"family": "client", "agreement": 1.0}], "against": ["typing is alike"], "cannot_tell": ["two people alike"]}  # fmt: skip
        await made.raise_alert({"identity_uuid": identity_id(A), "attacker_uuids": [A], "primitives": ["session.client"],
                                "families": ["client", "tempo"], "sides": [["s0"], ["s1"]], "confidence": 0.6, "ts": 1020.0,
                                "explanation": why})  # fmt: skip
        (tmp_path / "fleet.yaml").write_text(FLEET, "utf-8")
        tools = Tools.of(SETTINGS)
        await apply_fleet(made, load_fleet(tmp_path / "fleet.yaml", tools.catalogue, tools.defaults), tools)
        yield made


def heartbeat(session: StoreSession, state: str = "ok") -> None:
    session.bus.put("system.mutator.health", {"worker": "mutator", "state": state, "ts": time.time()})


async def test_an_alert_tells_claim_sides_and_what_speaks_against_it(repo: BaseRepository) -> None:
    app = DecnetApp(SETTINGS, session=StoreSession(repo))
    async with app.run_test(size=(160, 48)) as pilot:
        await pilot.press("2")
        for words in (
            IP,
            "! open",
            "1/1",
            "several operators, or one with two toolkits",
            "typing is alike",
            "two people alike",
        ):
            await shows(app, pilot, words)
        await pilot.press("enter")
        for words in ("SSH-2.0-tool0", "SSH-2.0-tool1", "root"):
            await shows(app, pilot, words)
        await pilot.press("enter")
        await shows(app, pilot, "> session s0")
        await shows(app, pilot, "session 1 of 2")
        level: Any = app.view.level  # type: ignore[attr-defined]
        assert [step["kind"] for step in level.rows] == ["end"], "no command was typed"


@pytest.mark.parametrize(
    ("keys", "state", "reason"),
    [
        (["a", "y", "y"], "acknowledged", None),
        (["R", "y", "right", "tab", *"seen", "enter", "y"], "resolved", "seen"),
    ],
)
async def test_acknowledging_and_resolving_are_read_back_and_journalled(
    repo: BaseRepository, keys: list[str], state: str, reason: str | None
) -> None:
    app = DecnetApp(SETTINGS, session=StoreSession(repo))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await shows(app, pilot, IP)
        await pilot.press(*keys)
        await shows(app, pilot, f"alert {IP} {state}")
        await shows(app, pilot, ": verified")
    (alert,) = await repo.list_alerts()
    assert (alert["state"], alert[f"{state}_by"]) == (state, "eve@console")
    (entry,) = await repo.journal()
    assert (entry["outcome"], entry["reason"]) == ("verified", reason)


async def open_fleet(app: DecnetApp, pilot: Any) -> None:
    await pilot.press("5")
    await shows(app, pilot, "web-01")
    await shows(app, pilot, lambda: "mutator" in app.feed.workers)


async def rotate(app: DecnetApp, pilot: Any) -> None:
    await open_fleet(app, pilot)
    await pilot.press("M", "y")
    await pilot.press(*"why", "enter", "y")


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"outcome": "applied", "old_services": ["http"], "new_services": ["ftp"]}, "verified (http -> ftp)"),
        ({"outcome": "failed", "reason": "image missing\x1b[2J"}, "NOT APPLIED (image missing"),
        (None, "UNKNOWN"),
    ],
)
async def test_a_rotation_ends_as_the_mutator_says_and_silence_is_no_success(
    repo: BaseRepository, told: dict[str, Any] | None, words: str
) -> None:
    session = StoreSession(repo)
    settings = SETTINGS.model_copy(
        update={"mutator": SETTINGS.mutator.model_copy(update={"apply_timeout_s": 30.0 if told else 0.3})}
    )
    app = DecnetApp(settings, session=session)
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(app, pilot, lambda: session.bus.subs)
        heartbeat(session)
        await rotate(app, pilot)
        await shows(app, pilot, lambda: session.bus.published)
        topic, payload = session.bus.published[-1]
        assert topic == "decky.web-01.mutate_request"
        assert (payload["requested_by"], payload["reason"]) == ("eve@console", "why")
        session.bus.put("decky.web-01.mutation", {"request_id": "somebody else's", "outcome": "applied"})
        if told is not None:
            session.bus.put("decky.web-01.mutation", {**told, "request_id": payload["request_id"]})
        await shows(app, pilot, words)
        assert "\x1b" not in "\n".join(screen_text(app))


async def test_a_mutator_that_cannot_answer_is_not_asked(repo: BaseRepository) -> None:
    session = StoreSession(repo)
    app = DecnetApp(SETTINGS, session=session)
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(app, pilot, lambda: session.bus.subs)
        heartbeat(session, "stopped")
        await open_fleet(app, pilot)
        await pilot.press("M", "y")
        await shows(app, pilot, "the mutator is stopped")
        assert session.bus.published == []


async def test_an_interval_is_set_read_back_and_undone(repo: BaseRepository) -> None:
    app = DecnetApp(SETTINGS, session=StoreSession(repo))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("5")
        await shows(app, pilot, "web-01")
        await pilot.press("I", "y")
        await pilot.press(*"45m", "enter", "y")
        await shows(app, pilot, "web-01 rotates 45m: verified")
        assert (await repo.decky_get("web-01") or {})["mutate_interval"] == "45m"
        await pilot.press("8")
        await shows(app, pilot, "web-01 rotates 45m")
        await pilot.press("U", "y")
        await shows(app, pilot, "web-01 rotates inherit: verified")
        assert not (await repo.decky_get("web-01") or {})["mutate_interval"]


async def test_a_decoy_without_an_interval_of_its_own_says_by_its_fleet_s_why_it_is_changed_next(
    repo: BaseRepository, tmp_path: Path
) -> None:
    (tmp_path / "fleet.yaml").write_text(FLEET.replace("never", "6h"), "utf-8")
    tools = Tools.of(SETTINGS)
    await apply_fleet(repo, load_fleet(tmp_path / "fleet.yaml", tools.catalogue, tools.defaults), tools)
    last = datetime(2026, 3, 1, tzinfo=UTC)
    await repo.decky_update("web-01", last_mutated=last, next_due=last + timedelta(hours=6, minutes=9))
    view = FleetView(Feed())
    view.load(await view.fetch(StoreSession(repo)))
    assert "next 6h after the last, 9m00s later by chance" in view.status()[0]


async def test_a_wrong_interval_is_refused_with_its_reason(repo: BaseRepository) -> None:
    app = DecnetApp(SETTINGS, session=StoreSession(repo))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("5")
        await shows(app, pilot, "web-01")
        await pilot.press("I", "y")
        await pilot.press("3", "x", "enter", "y")
        await shows(app, pilot, "NOT APPLIED")


async def test_an_interval_that_somebody_else_set_since_is_not_undone(repo: BaseRepository) -> None:
    app = DecnetApp(SETTINGS, session=StoreSession(repo))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("5")
        await shows(app, pilot, "web-01")
        await pilot.press("I", "y")
        await pilot.press(*"45m", "enter", "y")
        await shows(app, pilot, "web-01 rotates 45m: verified")
        await repo.decky_update("web-01", None, mutate_interval="2h")
        await pilot.press("8")
        await shows(app, pilot, "web-01 rotates 45m")
        await pilot.press("U", "y")
        await shows(app, pilot, "it was changed since: now mutate_interval")
        assert (await repo.decky_get("web-01") or {})["mutate_interval"] == "2h"


async def test_what_docker_says_of_a_decky_is_shown_as_text(repo: BaseRepository) -> None:
    """The reason is raw: a container's output, an error of a daemon, a line of a decoy's own log."""
    raw = "pull failed: \x1b[2J\x1b]0;own\x07 [bold]tag\u202e"
    await repo.decky_update("web-01", None, reason=raw, failures=1, state="failed")
    await repo.topology_update("lab", reason=raw)
    row = {
        "mutation_id": "m",
        "kind": "add_network",
        "topology_id": "lab",
        "target": "dmz",
        "state": "failed",
        "payload": {},
    }
    await repo.mutation_add({**row, "reason": raw})
    app = DecnetApp(SETTINGS, session=StoreSession(repo))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("5")
        await shows(app, pilot, "web-01")
        await pilot.press("enter")
        await shows(app, pilot, "pull failed: \\e[2J")
        text = "\n".join(screen_text(app))
    assert not {"\x1b", "\x07", "\u202e"} & set(text)
    assert text.count("[bold]tag") >= 2, "nor is it read as markup"


async def test_a_decoy_is_mutated_with_four_keys(repo: BaseRepository) -> None:
    session = StoreSession(repo)
    app = DecnetApp(SETTINGS, session=session)
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(app, pilot, lambda: session.bus.subs)
        heartbeat(session)
        await shows(app, pilot, lambda: "mutator" in app.feed.workers)
        app.write.start()
        keys = ["5", "M", "enter", "y"]
        await pilot.press(keys[0])
        await shows(app, pilot, "web-01")
        await pilot.press(*keys[1:])
        await shows(app, pilot, lambda: session.bus.published)
        assert session.bus.published[-1][0] == "decky.web-01.mutate_request"
    assert len(keys) == 4


async def test_tokens_stand_below_the_decoys_and_are_not_mutated(repo: BaseRepository) -> None:
    when = datetime(2026, 3, 1, tzinfo=UTC)
    token = minted("aws", "web-01", path="/root/.aws/credentials", memo="for the night shift", at=when)
    await repo.canary_add(token)
    session = StoreSession(repo)
    app = DecnetApp(SETTINGS, session=session)
    async with app.run_test(size=(80, 24)) as pilot:
        app.write.start()
        await pilot.press("5")
        await shows(app, pilot, token["token_id"][:10])
        await pilot.press("G", "M")
        await shows(app, pilot, "there is no decoy under the cursor")
        assert token["slug"] not in "\n".join(screen_text(app))
