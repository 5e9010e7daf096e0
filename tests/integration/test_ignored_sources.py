"""Ignored sources on both databases: marked, hidden, shown when asked, expired, taken back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.bus.base import Event
from decnet.config import load_settings
from decnet.db.repository import BaseRepository
from decnet.db.repository.ignored import IgnoreSet, parse_source
from decnet.db.rows.ttp import TTPTag
from decnet.ids import attacker_id, identity_id
from decnet.recorder.worker import RecorderWorker
from decnet.runtime.worker import Transaction
from tests.dbkit import KINDS, open_repo
from tests.wirekit import taken

OWN, OTHER = "192.0.2.10", "203.0.113.5"


@pytest.fixture(params=KINDS)
async def repo(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path) as opened:
        yield opened


def session(name: str, ip: str, user: str = "root") -> Event:
    payload = {"session_id": name, "attacker_ip": ip, "decky_id": "d", "started_at": 1.0, "ended_at": 2.0}
    return Event("attacker.session.ended", {**payload, "auth": {"usernames": [user]}}, "", f"{name}e", 2.0)


async def record(repo: BaseRepository, *events: Event) -> None:
    async with repo.transaction() as bound:
        await RecorderWorker(load_settings()).handle(taken(events), Transaction(bound))


def tag(ip: str, session_id: str | None, n: int) -> TTPTag:
    base: dict[str, Any] = {
        "source_kind": "command",
        "source_id": f"c{n}",
        "tactic": "TA0002",
        "rule_id": "R0001",
    }
    return TTPTag(
        **base, technique_id="T1059", confidence=0.9, rule_version=1, attacker_uuid=attacker_id(ip), session_id=session_id
    )  # fmt: skip


async def shown(repo: BaseRepository, *, ignored: bool = False) -> dict[str, set[str]]:
    return {
        "sessions": {row["session_id"] for row in await repo.list_sessions(ignored=ignored)},
        "attackers": {row["attacker_ip"] for row in await repo.list_attackers(ignored=ignored)},
        "tags": {row["source_id"] for row in await repo.list_tags(ignored=ignored)},
        "identities": {row["identity_uuid"] for row in await repo.list_identities(ignored=ignored)},
    }


async def test_a_network_is_left_out_before_and_after(repo: BaseRepository) -> None:
    await record(repo, session("s1", OWN), session("s2", OTHER))
    await repo.insert_tags([tag(OWN, "s1", 1), tag(OTHER, "s2", 2), tag(OWN, None, 3), tag(OTHER, None, 4)])
    everything = await shown(repo)
    entry = await repo.ignore_add("192.0.2.0/24", reason="our scanner", set_by="test")
    assert entry["marked"] == 1
    await record(repo, session("s3", OWN), session("s4", OTHER))
    await repo.insert_tags([tag(OWN, "s3", 5), tag(OWN, "not recorded yet", 6)])
    seen = await shown(repo)
    assert seen["sessions"] == {"s2", "s4"}
    assert seen["attackers"] == {OTHER}
    assert seen["tags"] == {"c2", "c4"}
    assert seen["identities"] == {identity_id(attacker_id(OTHER))}
    assert await repo.rule_fired_counts(0.0) == {"R0001": 2}
    asked = await shown(repo, ignored=True)
    assert asked["sessions"] == {"s1", "s2", "s3", "s4"}
    assert asked["attackers"] == everything["attackers"]
    assert asked["tags"] == {"c1", "c2", "c3", "c4", "c5", "c6"}
    assert await repo.ignored_attackers([attacker_id(OWN), attacker_id(OTHER)]) == {attacker_id(OWN)}
    assert await repo.ignore_remove(entry["ignore_id"])
    assert not await repo.ignore_remove(entry["ignore_id"])
    assert await shown(repo) == asked


async def test_an_expired_entry_marks_nothing_new_and_keeps_what_it_marked(repo: BaseRepository) -> None:
    await record(repo, session("s1", OWN))
    await repo.ignore_add(OWN, expires_at=datetime.now(UTC) + timedelta(hours=1))
    await record(repo, session("s2", OWN))
    assert (await shown(repo))["attackers"] == set()
    await repo.ignore_add(OWN, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    await record(repo, session("s3", OWN))
    seen = await shown(repo)
    assert seen["sessions"] == {"s3"}
    assert seen["attackers"] == {OWN}
    (entry,) = await repo.ignored_sources()
    assert await repo.ignore_remove(entry["ignore_id"])
    assert (await shown(repo))["sessions"] == {"s1", "s2", "s3"}


async def test_a_login_name(repo: BaseRepository) -> None:
    name = "nagios'%_\""
    await record(repo, session("s1", OTHER, name), session("s2", OTHER))
    captured = {
        "attacker_ip": OTHER,
        "session_id": "s5",
        "username": name,
        "secret_hmac": "h",
        "secret_kind": "password",
    }
    await record(repo, Event("credential.captured", captured, "", "c", 1.0), session("s5", OTHER, "x"))
    assert (await repo.ignore_add(name))["marked"] == 2
    await record(repo, session("s3", OTHER, name), session("s4", OTHER))
    seen = await shown(repo)
    assert seen["sessions"] == {"s2", "s4"}
    assert seen["attackers"] == {OTHER}


async def test_taking_one_of_two_away_leaves_the_other_in_force(repo: BaseRepository) -> None:
    await record(repo, session("s1", OWN))
    wide = await repo.ignore_add("192.0.0.0/16")
    await repo.ignore_add(OWN)
    await repo.ignore_remove(wide["ignore_id"])
    assert (await shown(repo))["sessions"] == set()


def test_sources() -> None:
    for wrong in ("192.0.2.0/33", "300.1.1.1", "192.0.2.0/x", "2001:db8::/200"):
        with pytest.raises(ValueError, match="no address and no network"):
            parse_source(wrong)
    assert parse_source("192.0.2.7") == ("cidr", "192.0.2.7/32")
    assert parse_source("192.0.2.7/24") == ("cidr", "192.0.2.0/24")
    assert parse_source(" 2001:db8::/32 ") == ("cidr", "2001:db8::/32")
    assert parse_source("::ffff:192.0.2.7") == ("cidr", "192.0.2.7/32")
    assert parse_source("scan/er") == ("user", "scan/er")
    with pytest.raises(ValueError, match="login name"):
        parse_source("  ")


@given(
    st.dictionaries(
        st.sampled_from(("attacker_ip", "auth", "username")),
        st.none()
        | st.text()
        | st.lists(st.text())
        | st.dictionaries(st.just("usernames"), st.lists(st.integers() | st.text())),
    )
)
def test_any_payload_is_taken(payload: dict[str, Any]) -> None:
    entries = [{"kind": "cidr", "value": "192.0.2.0/24", "ignore_id": "a", "expires_at": None}]
    rules = IgnoreSet([*entries, {"kind": "user", "value": "", "ignore_id": "b", "expires_at": None}])
    assert rules.by_payload(payload) in (None, "a", "b")
