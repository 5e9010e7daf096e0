"""Whatever names an identity names the one that it belongs to now: after a merge, and after the parting again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from decnet.attack.catalogue import load_catalogue
from decnet.attribution.regrouped import follow
from decnet.attribution.worker import AttributionWorker, fired_alerts, tick_multi_actor
from decnet.bus.base import Event
from decnet.db.repository import BaseRepository
from decnet.export import navigator_layer, seen_in
from decnet.ids import attacker_id, identity_id
from decnet.runtime.worker import Transaction, TxBus
from decnet_tui.cli.main import app
from tests.dbkit import KINDS, open_repo
from tests.rowkit import put
from tests.simulator.pairs import pair_history
from tests.wirekit import taken

IPS = ("192.0.2.1", "192.0.2.2", "192.0.2.3")
A, B, C = WHO = tuple(map(attacker_id, IPS))
IA, IB, IC = map(identity_id, WHO)
T = 1_700_000_000.0
P = "cognitive.planning_depth"
PAST = pair_history(("client", "account", "work"), "random", 4)
APART = {A: IA, B: IB, C: IC}
JOINED = {A: IA, B: IA, C: IC}


@pytest.fixture(params=KINDS)
async def repo(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path) as opened:
        await filled(opened)
        yield opened


async def filled(repo: BaseRepository) -> None:
    await repo.upsert_attackers([(uuid, ip, T) for uuid, ip in zip(WHO, IPS, strict=True)])
    await repo.form_identities(WHO)
    for uuid, ip in zip(WHO, IPS, strict=True):
        session = {"session_id": f"s{ip}", "attacker_uuid": uuid, "attacker_ip": ip, "decky_id": "d"}
        await put(repo, "session", {**session, "started_at": T, "ended_at": T + 9})
        login = {"attacker_uuid": uuid, "session_id": f"s{ip}", "secret_kind": "password", "decky_id": "d"}
        await repo.upsert_credentials(
            [
                {**login, "username": name, "secret_hmac": "h", "success": False, "ts": T}
                for name in ("root", "pi")
            ]
        )
        # As it may have been tagged: while it was merged, with nobody, as itself.
        for n, named in enumerate((IA, None, identity_id(uuid))):
            row = {"uuid": f"{n}{ip}", "attacker_uuid": uuid, "identity_uuid": named, "session_id": f"s{ip}"}
            await put(repo, "ttp_tag", {**row, "technique_id": "T1059", "seen_at": T, "created_at": T})
        frame = {"attacker_uuid": None, "identity_uuid": identity_id(uuid), "technique_id": "T1059"}
        await put(repo, "ttp_tag", {**frame, "uuid": f"alone{ip}", "seen_at": T, "created_at": T})
        await observe(repo, uuid)
    for attacker, side in ((A, 0), (B, 1)):
        frame = {"attacker_uuid": attacker, "identity_uuid": identity_id(attacker), "rank": "1"}
        rows = [row for row, who in zip(PAST.rows, PAST.truth, strict=True) if who == side]
        await repo.upsert_session_features([{**row, **frame} for row in rows])  # type: ignore[typeddict-item]


async def observe(repo: BaseRepository, attacker: str) -> None:
    for n in range(4):
        payload = {"primitive": P, "value": "a", "confidence": 1.0, "attacker_uuid": attacker, "ts": T + n}
        event = Event(f"attacker.observation.{P}", {**payload, "evidence_ref": f"{n}{attacker}"}, "", "e", T)
        async with repo.transaction() as bound:
            await AttributionWorker().handle(taken([event]), Transaction(bound))


async def linked(repo: BaseRepository, into: str | None) -> None:
    """What linking does with the address of B."""
    if into is not None:
        row = {"attacker_uuid": B, "address": IPS[1], "identity_uuid": IB, "linked_into": into}
        await put(repo, "link_address", {**row, "founded_at": T, "logins": ""})
    async with repo.transaction() as bound, bound._write() as session:
        await session.execute(text("UPDATE link_address SET linked_into = :into"), {"into": into})
        await follow(bound, TxBus(), await bound.regroup_identities([IB]))
    await tick_multi_actor(None, repo, await fired_alerts(repo))


async def named_in(repo: BaseRepository) -> dict[str, dict[str, set[str]]]:
    """For each list the identities that it names for each attacker."""
    lists: dict[str, Any] = {
        "tags": await repo.list_tags(limit=0),
        "sessions": await repo.list_sessions(limit=0),
        "attackers": await repo.list_attackers(limit=0),
        "new": (await repo.since(0.0, 4e9)).sources,
        "behind": await repo.tags_behind("T1059"),
        "of a rule": await repo.tags_of_rule("R1"),
    }
    out: dict[str, dict[str, set[str]]] = {}
    for name, rows in lists.items():
        out[name] = {
            uuid: {row["identity_uuid"] for row in rows if row["attacker_uuid"] == uuid} for uuid in WHO
        }
    rows = await repo.list_tags(limit=0)
    alone = {row["uuid"]: row["identity_uuid"] for row in rows if row["attacker_uuid"] is None}
    out["tags of identities"] = {uuid: {alone[f"alone{ip}"]} for uuid, ip in zip(WHO, IPS, strict=True)}
    out["canonical"] = {uuid: {name} for uuid, name in (await repo.identities_of(WHO)).items()}
    out["owners"] = {uuid: {name} for uuid, name in (await repo.identities_of_attackers(WHO)).items()}
    listed = {row["identity_uuid"]: row for row in await repo.list_identities(limit=0)}
    out["identities"] = {
        uuid: {listed[own]["merged_into"] or own}
        for uuid, own in APART.items()
        if uuid in listed[listed[own]["merged_into"] or own]["attacker_uuids"]
    }
    out["profiles"] = {
        uuid: {row["identity_uuid"] for row in await repo.list_attribution(attacker=ip)}
        for uuid, ip in zip(WHO, IPS, strict=True)
    }
    out["profiles by identity"] = {
        uuid: {row["identity_uuid"] for row in await repo.list_attribution(identity=own)}
        for uuid, own in APART.items()
    }
    return out


async def scoped(repo: BaseRepository, name: str) -> set[str]:
    """The attackers whose tags are found when an actor is followed by one of its names."""
    rows = [*await repo.tags_behind("T1059", names=[name]), *await repo.tags_of_rule("R1", names=[name])]
    counted = sum(row["tags"] for row in await repo.technique_counts(names=[name]))
    assert len(rows) == 2 * counted
    return {row["attacker_uuid"] for row in rows if row["attacker_uuid"]}


async def actors(repo: BaseRepository) -> set[int]:
    """How many actors the matrix and the exports count."""
    rows = await repo.list_tags(limit=0)
    catalogue = load_catalogue()
    layer = navigator_layer(seen_in(rows), name="n", description="d", catalogue=catalogue)
    (comment,) = {cell["comment"] for cell in layer["techniques"] if "comment" in cell}
    (count,) = await repo.technique_counts()
    return {count["actors"], int(comment.split(" tags of ")[1].split(" ")[0])}


async def test_every_list_follows_a_merge_and_the_parting(repo: BaseRepository) -> None:
    everywhere = await named_in(repo)
    assert everywhere == {name: {uuid: {own} for uuid, own in APART.items()} for name in everywhere}
    assert await actors(repo) == {3}
    assert await scoped(repo, IB) == {B}
    assert {row["identity_uuid"] for row in await repo.spread_of_secrets([IA, IB])} == {IA, IB}

    await linked(repo, IA)
    assert await named_in(repo) == {
        name: {uuid: {own} for uuid, own in JOINED.items()} for name in everywhere
    }
    assert await actors(repo) == {2}
    assert await scoped(repo, IA) == await scoped(repo, IB) == {A, B}
    assert await scoped(repo, IPS[1]) == {B}, "an address is still itself"
    assert [row["identity_uuid"] for row in await repo.spread_of_secrets([IA])] == [IA]
    for ip in IPS[:2]:
        (alert,) = await repo.list_alerts(attacker=ip)
        assert (alert["identity_uuid"], alert["attacker_uuids"], alert["state"]) == (
            IA,
            sorted([A, B]),
            "open",
        )
    (profile,) = await repo.list_attribution(attacker=IPS[1])
    assert profile["observation_count"] == 8

    await linked(repo, None)
    assert await named_in(repo) == everywhere
    assert await actors(repo) == {3}
    assert await scoped(repo, IA) == {A}
    assert await scoped(repo, IB) == {B}
    assert await repo.standing_alerts() == []
    (profile,) = await repo.list_attribution(attacker=IPS[1])
    assert (profile["identity_uuid"], profile["observation_count"]) == (IB, 4)
    assert {row["identity_uuid"] for row in await repo.spread_of_secrets([IA, IB])} == {IA, IB}


async def test_a_third_address_is_added_to_the_standing_alert(repo: BaseRepository) -> None:
    await linked(repo, IA)
    await repo.merge_identities(IA, IC, 1)
    async with repo.transaction() as bound:
        await follow(bound, TxBus(), {IC: (IC, IA)})
    await tick_multi_actor(None, repo, await fired_alerts(repo))
    (alert,) = await repo.standing_alerts()
    assert alert["attacker_uuids"] == sorted(WHO)


async def test_an_alert_from_before_a_merge_is_found_by_its_attacker(repo: BaseRepository) -> None:
    facts = {
        "identity_uuid": IB,
        "attacker_uuids": [B],
        "primitives": ["p", "q"],
        "families": [],
        "sides": [],
    }
    await repo.raise_alert({**facts, "confidence": 0.5, "ts": T, "explanation": {}})  # type: ignore[typeddict-item]
    await linked(repo, IA)
    found = {row["identity_uuid"]: row["state"] for row in await repo.list_alerts(attacker=IPS[1])}
    assert found == {IA: "open", IB: "resolved"}
    assert {row["identity_uuid"] for row in await repo.list_alerts(attacker=IPS[0])} == {IA}


async def test_what_is_ignored_of_a_joined_identity_hides_it_only_when_all_of_it_is(
    repo: BaseRepository,
) -> None:
    await linked(repo, IA)
    await repo.ignore_add(IPS[0])
    assert [row["identity_uuid"] for row in await repo.list_alerts()] == [IA], (
        "the other address is not ignored"
    )
    assert IA in {row["identity_uuid"] for row in await repo.list_attribution()}
    await repo.ignore_add(IPS[1])
    assert await repo.list_alerts() == []
    assert {row["identity_uuid"] for row in await repo.list_attribution()} == {IC}


async def test_an_export_of_an_identity_is_the_same_by_each_of_its_names(tmp_path: Path) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        await filled(repo)
        await linked(repo, IA)
        url = f"sqlite:///{repo.db.url.database}"

    def exported(what: str, identity: str) -> str:
        words = ["export", what, "-o", "-", "--identity", identity, "--db", url, "--data-dir", str(tmp_path)]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
        return done.stdout

    by_loser = await asyncio.to_thread(exported, "jsonl", IB)
    assert by_loser == await asyncio.to_thread(exported, "jsonl", IA)
    rows = [json.loads(line) for line in by_loser.splitlines()]
    assert {row["identity_uuid"] for row in rows} == {IA}
    assert {row["attacker_ip"] for row in rows} == {*IPS[:2], None}
    assert IB not in await asyncio.to_thread(exported, "csv", IA)
    assert IB not in await asyncio.to_thread(exported, "stix", IA)
