"""Identities become one and are their own again: by merges of others and by links, in any order, on both databases."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from structlog.testing import capture_logs

from decnet.attribution.observation_event import observation_of
from decnet.attribution.regrouped import follow
from decnet.attribution.worker import AttributionWorker, fired_alerts, tick_multi_actor
from decnet.bus.base import Event
from decnet.db.repository import BaseRepository
from decnet.db.repository.attribution import identities as module
from decnet.ids import attacker_id, identity_id
from decnet.runtime.worker import Transaction, TxBus
from tests.dbkit import KINDS, database_url, open_repo
from tests.rowkit import put, rows_of
from tests.simulator.pairs import pair_history
from tests.wirekit import taken

IPS = tuple(f"192.0.2.{n}" for n in range(1, 5))
A, B, C, D = WHO = tuple(map(attacker_id, IPS))
IA, IB, IC, ID = NAMES = tuple(map(identity_id, WHO))
P, Q, R = "cognitive.planning_depth", "operational.objective", "temporal.session_duration"
Row = dict[str, Any]
PAST = pair_history(("client", "account", "work"), "random", 4)


@pytest.fixture(params=KINDS)
async def repo(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path) as opened:
        yield await peopled(opened)


@pytest.fixture
async def lite(tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo("sqlite", tmp_path) as opened:
        yield await peopled(opened)


async def peopled(repo: BaseRepository) -> BaseRepository:
    await repo.upsert_attackers([(uuid, ip, 1.0) for uuid, ip in zip(WHO, IPS, strict=True)])
    await repo.form_identities(WHO)
    return repo


def observed(n: int, value: str, primitive: str = P, attacker: str = A) -> Event:
    payload = {"primitive": primitive, "value": value, "confidence": 1.0, "attacker_uuid": attacker}
    payload |= {"evidence_ref": f"r{n:03}{attacker}", "session_id": f"s{n}{attacker}"}
    payload["window"] = {"start_ts": n - 1.0, "end_ts": float(n)}
    return Event(f"attacker.observation.{primitive}", payload, "", f"e{n}{primitive}{attacker}", float(n))


def merged(winner: str, loser: str, seq: int | None = None, **more: Any) -> Event:
    payload = {"winner_uuid": winner, "loser_uuid": loser, "seq": seq, **more}
    return Event(
        "identity.merged", {k: v for k, v in payload.items() if v is not None}, "", f"m{payload}", 1.0
    )


def parted(one: str, former: str, seq: int | None = None, **more: Any) -> Event:
    payload = {"resurrected": one, "former_winner": former, "seq": seq, **more}
    return Event(
        "identity.unmerged", {k: v for k, v in payload.items() if v is not None}, "", f"u{payload}", 1.0
    )


async def deliver(
    repo: BaseRepository, *batches: Sequence[Event], by: AttributionWorker | None = None
) -> list[Event]:
    """Batches through the worker, each in its transaction; what it told."""
    worker, told = by or AttributionWorker(), []
    for batch in batches:
        async with repo.transaction() as bound:
            tx = Transaction(bound)
            await worker.handle(taken(batch), tx)
        told += tx.bus.events
    return told


async def link(repo: BaseRepository, **into: str | None) -> dict[str, tuple[str, str]]:
    """What linking does: it writes which identity an address is linked into, and all that follows."""
    who = dict(zip("ABCD", WHO, strict=True))
    async with repo.transaction() as bound, bound._write() as session:
        for name, winner in into.items():
            values = {"uuid": who[name], "own": identity_id(who[name]), "into": winner}
            statement = (
                "INSERT INTO link_address (attacker_uuid, address, identity_uuid, linked_into, founded_at, logins)"
                " VALUES (:uuid, '', :own, :into, 1.0, '')"
                " ON CONFLICT (attacker_uuid) DO UPDATE SET linked_into = excluded.linked_into"
            )
            await session.execute(text(statement), values)
        moved = await bound.regroup_identities(identity_id(who[name]) for name in into)
        await follow(bound, TxBus(), moved)
    return moved


async def names(repo: BaseRepository, *identities: str) -> dict[str, str]:
    return {identity: await repo.canonical_identity(identity) for identity in identities or NAMES}


async def states(repo: BaseRepository) -> dict[tuple[str, str], Row]:
    return {
        (row["identity_uuid"], row["primitive"]): dict(row) for row in await repo.states_of_identities(NAMES)
    }


def without_numbers(rows: Mapping[Any, Row]) -> dict[Any, Row]:
    return {key: {k: v for k, v in row.items() if k != "seq"} for key, row in rows.items()}


# --- who is one with whom -------------------------------------------------------------------------


async def test_links_join_and_part_and_what_moved_is_said(repo: BaseRepository) -> None:
    assert await link(repo, A=None, B=IA, C=IA) == {IB: (IB, IA), IC: (IC, IA)}
    assert await names(repo) == {IA: IA, IB: IA, IC: IA, ID: ID}
    assert await link(repo, B=IA) == {}, "twice is once"
    assert await repo.merge_identities(ID, IA, 1) == {
        i: (was, ID) for i, was in ((IA, IA), (IB, IA), (IC, IA))
    }
    assert await link(repo, C=None) == {IC: (ID, IC)}
    assert await link(repo, A=None, B=None) == {IB: (ID, IB)}
    assert await names(repo) == {IA: ID, IB: IB, IC: IC, ID: ID}, "what others told stands"
    assert await repo.part_identities(IA, ID, 2) == {IA: (ID, IA)}
    assert await names(repo) == {name: name for name in NAMES}


async def test_a_group_that_splits_in_the_middle_is_found_by_its_old_name(repo: BaseRepository) -> None:
    """The members that stay are no neighbours of the one that left any more."""
    await link(repo, A=None, B=IA, C=IA, D=IA)
    async with repo.transaction() as bound, bound._write() as session:
        await session.execute(text("UPDATE link_address SET linked_into = NULL"))
        await session.execute(
            text("UPDATE link_address SET linked_into = :i WHERE attacker_uuid = :d"), {"i": IC, "d": D}
        )
        moved = await bound.regroup_identities([IB])
    assert moved == {IB: (IA, IB), IC: (IA, IC), ID: (IA, IC)}


async def test_old_news_changes_nothing_whatever_the_order(repo: BaseRepository) -> None:
    await deliver(repo, [parted(IB, IA, 6)], [merged(IA, IB, 5)])
    assert await names(repo, IB) == {IB: IB}
    await deliver(repo, [merged(IA, IB, 7)], [parted(IB, IA, 6)], [merged(IA, IB, 5)])
    assert await names(repo, IB) == {IB: IA}
    await deliver(repo, [merged(IA, IB, 8), parted(IB, IA, 8)])
    assert await names(repo, IB) == {IB: IB}, "of the same number it is parted"
    await deliver(repo, [parted(ID, IC)], [merged(IC, ID)])
    assert await names(repo, ID) == {ID: ID}, "so it is without numbers"


async def test_who_is_parted_leaves_by_every_merge_in_which_it_lost(repo: BaseRepository) -> None:
    await deliver(repo, [merged(IB, IC, 1), merged(IA, IB, 2), merged(IC, ID, 3)])
    assert await names(repo) == dict.fromkeys(NAMES, IA)
    await deliver(repo, [parted(IC, IA, 4)])
    assert await names(repo) == {IA: IA, IB: IA, IC: IC, ID: IC}, "what was merged into it goes with it"
    await deliver(repo, [merged(IB, IC, 1)])
    assert await names(repo, IC) == {IC: IC}
    await deliver(repo, [merged(IB, IA, 5), parted(IB, IA, 6)])
    assert await names(repo, IA, IB) == {IA: IA, IB: IB}, "a ring of two is opened on both sides"


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, int, int, int]]:
    number = st.integers(0, 3)
    step = st.tuples(st.sampled_from(["merge", "part"]), number, number, st.integers(0, 4))
    return draw(st.lists(step.filter(lambda s: s[1] != s[2]), min_size=1, max_size=9))


LINKS: tuple[dict[str, str | None], ...] = ({"B": IA}, {"B": None, "C": IA}, {"D": IC, "C": None})


def expected(told: Iterable[tuple[str, int, int, int]]) -> dict[str, str]:
    """What the edges of the end say, worked out in the plainest way."""
    merges: dict[tuple[int, int], int] = {}
    parts: dict[tuple[int, int], int] = {}
    for kind, one, other, seq in told:
        into = merges if kind == "merge" else parts
        into[one, other] = max(seq, into.get((one, other), -1))
    alone = {who: max([seq for (one, _), seq in parts.items() if one == who], default=-1) for who in range(4)}
    edges = {
        (loser, winner)
        for (loser, winner), seq in merges.items()
        if seq > alone[loser] and seq > parts.get((winner, loser), -1)
    } | {(3, 2)}
    group = {who: {who} for who in range(4)}
    for _ in range(4):
        for loser, winner in edges:
            group[loser] |= group[winner]
            group[winner] |= group[loser]
    lost = {loser for loser, _ in edges}
    named = {w: min([NAMES[m] for m in g - lost] or [NAMES[m] for m in g]) for w, g in group.items()}
    return {NAMES[who]: name for who, name in named.items()}


async def _lived(history: list[tuple[str, int, int, int]], links: Sequence[int]) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        async with open_repo("sqlite", Path(folder)) as repo:
            await peopled(repo)
            for n, (kind, one, other, seq) in enumerate([*history, *history[::-1]]):
                for change in [change for change, at in zip(LINKS, links, strict=True) if at == n]:
                    await link(repo, **change)
                news = (
                    merged(NAMES[other], NAMES[one], seq)
                    if kind == "merge"
                    else parted(NAMES[one], NAMES[other], seq)
                )
                await deliver(repo, [news])
            for change in [change for change, at in zip(LINKS, links, strict=True) if at >= 2 * len(history)]:
                await link(repo, **change)
            rows = await rows_of(repo, "identity", "identity_uuid")
            assert {who: row["merged_into"] or who for who, row in rows.items()} == await names(repo)
            return await names(repo)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=histories(), links=st.lists(st.integers(0, 18), min_size=3, max_size=3).map(sorted))
def test_the_partition_is_the_same_in_any_order_of_news_and_links(
    history: list[tuple[str, int, int, int]], links: list[int]
) -> None:
    assert asyncio.run(_lived(history, links)) == expected(history)


# --- words of operators ---------------------------------------------------------------------------


async def said_apart(repo: BaseRepository, one: str, other: str) -> None:
    less, more = sorted([one, other])
    await put(repo, "link_said", {"one": less, "other": more, "same": False, "reason": "", "said_by": "me"})


async def test_a_merge_against_an_operators_word_joins_nothing_is_counted_and_said_once(
    repo: BaseRepository,
) -> None:
    await said_apart(repo, A, C)
    await deliver(repo, [merged(IA, IB, 1)])
    worker = AttributionWorker()
    with capture_logs() as said:
        await deliver(repo, [merged(IB, IC, 2)], [merged(IB, IC, 2), merged(IA, ID, 3)], by=worker)
    assert await names(repo) == {IA: IA, IB: IA, IC: IC, ID: IA}
    assert worker.health()["merges_refused"] == 1
    told = [line for line in said if line["log_level"] == "warning"]
    assert [(line["winner"], line["loser"]) for line in told] == [(IB, IC)]
    async with repo.transaction() as bound, bound._write() as session:
        await session.execute(text("DELETE FROM link_said"))
    assert await repo.regroup_identities([IC]) == {IC: (IC, IA)}, "it was kept: the word is taken back"
    assert await repo.refused_merges([(IB, IC)]) == set()


async def test_a_parting_that_links_of_ours_stand_against_is_counted_and_one_that_is_old_is_not(
    lite: BaseRepository,
) -> None:
    worker = AttributionWorker()
    await link(lite, A=None, B=IA)
    await deliver(lite, [merged(IC, ID, 5), parted(ID, IC, 4), parted(IC, IA, 9)], by=worker)
    assert worker.health()["partings_held"] == 0
    with capture_logs() as said:
        await deliver(lite, [parted(IB, IA, 1)], by=worker)
    assert worker.health()["partings_held"] == 1
    assert [(line["one"], line["former"]) for line in said if "parts nothing" in line["event"]] == [(IB, IA)]
    assert (await names(lite))[IB] == IA


async def test_a_word_said_after_the_merge_parts_what_the_merge_alone_joined(repo: BaseRepository) -> None:
    await deliver(repo, [merged(IA, IB, 1)])
    await said_apart(repo, B, A)
    assert await repo.regroup_identities([IA]) == {IB: (IA, IB)}
    assert await repo.refused_merges([(IA, IB), (IA, IC)]) == {(IA, IB)}


async def test_a_group_that_is_too_large_stays_what_it_was_and_is_counted(
    lite: BaseRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lite.merge_identities(IA, IB)
    await lite.merge_identities(IB, IC)
    monkeypatch.setattr(module, "MAX_GROUP", 4)
    assert await lite.merge_identities(IC, ID) == {ID: (ID, IA)}, "four are four"
    monkeypatch.setattr(module, "MAX_GROUP", 3)
    before = AttributionWorker().health()["groups_too_large"]
    assert await lite.part_identities(IB, IA, 9) == {}
    assert AttributionWorker().health()["groups_too_large"] > before
    assert (await names(lite))[IB] == IA


async def test_an_identity_that_was_forgotten_is_formed_again_where_it_belongs(repo: BaseRepository) -> None:
    await link(repo, A=None, B=IA)
    await repo.merge_identities(IC, ID)
    async with repo.transaction() as bound, bound._write() as session:
        await session.execute(text("DELETE FROM identity"))
    assert await repo.form_identities([B, D]) == sorted([(IB, B), (ID, D)])
    assert await names(repo, IB, ID) == {IB: IA, ID: IC}


# --- what follows ---------------------------------------------------------------------------------


async def test_our_own_news_makes_no_edge_though_it_comes_late(repo: BaseRepository) -> None:
    await link(repo, A=None, B=IA)
    await link(repo, B=None)
    assert (
        await deliver(repo, [merged(IA, IB, 3, source="linking")], [parted(IA, IB, 4, source="linking")])
        == []
    )
    assert await names(repo, IA, IB) == {IA: IA, IB: IB}
    assert await rows_of(repo, "identity_merge", "loser_uuid") == {}


HISTORY = [
    [observed(n, v) for n, v in enumerate("aabbaabab", start=1)],
    [observed(n, v, attacker=B) for n, v in enumerate("bbbbbabbb", start=4)],
    [observed(n, "x", Q, B) for n in (3, 5, 8)],
    [observed(n, "y", R, A) for n in (3, 5, 8)],
]
LATER = [[observed(n, "c", attacker=who) for n in (20, 21, 22, 23)] for who in (A, B)]


async def test_an_unmerge_restores_the_states_that_would_be_there_had_the_merge_never_been(
    repo: BaseRepository,
) -> None:
    await deliver(repo, *HISTORY)
    never = await states(repo)
    await deliver(repo, [merged(IA, IB, 1)])
    joined = await states(repo)
    assert set(joined) == {(IA, P), (IA, Q), (IA, R)}
    assert joined[IA, P]["observation_count"] == 18
    told = await deliver(repo, [parted(IB, IA, 2)])
    again = await states(repo)
    assert without_numbers(again) == without_numbers(never)
    assert {key: row["seq"] for key, row in again.items() if key[0] == IB} == {
        key: row["seq"] for key, row in never.items() if key[0] == IB
    }, "of the one that is back everything was told already"
    assert {event.payload["identity_uuid"] for event in told} <= {IA}
    assert all(again[key]["seq"] >= joined[key]["seq"] for key in again if key in joined)
    assert await deliver(repo, [parted(IB, IA, 2)]) == []
    assert await states(repo) == again, "twice is once"


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.permutations(range(6)), st.integers(0, 6), st.integers(0, 6), st.booleans())
def test_whenever_they_were_one_the_end_is_the_same(
    order: list[int], one: int, other: int, by_link: bool
) -> None:
    batches = [[*HISTORY, *LATER][n] for n in order]
    joined, apart = sorted((one, other))

    async def lived(merging: bool) -> tuple[dict[Any, Row], list[Event]]:
        with tempfile.TemporaryDirectory() as folder:
            async with open_repo("sqlite", Path(folder)) as repo:
                told: list[Event] = []
                await peopled(repo)
                for n in range(7):
                    for at, into, news in ((joined, IA, merged(IA, IB, 1)), (apart, None, parted(IB, IA, 2))):
                        if merging and at == n and by_link:
                            await link(repo, B=into)
                        elif merging and at == n:
                            told += await deliver(repo, [news])
                    told += await deliver(repo, *batches[n : n + 1])
                return await states(repo), told

    never, _ = asyncio.run(lived(False))
    found, told = asyncio.run(lived(True))
    assert without_numbers(found) == without_numbers(never)
    seen: dict[tuple[str, str], tuple[int, str | None]] = {}
    for event in told:
        key = (event.payload["identity_uuid"], event.payload["primitive"])
        number, state = seen.get(key, (0, None))
        if not by_link:  # a helper keeps the news of links to itself
            assert event.payload["old_state"] == state, "each step starts where the last one ended"
        assert event.payload["seq"] > number, "a number that does not grow"
        seen[key] = event.payload["seq"], event.payload["new_state"]


async def test_a_primitive_that_left_with_its_identity_has_no_row_and_its_number_goes_on(
    repo: BaseRepository,
) -> None:
    await deliver(repo, *HISTORY)
    await deliver(repo, [merged(IA, IB, 1)])
    number = (await states(repo))[IA, Q]["seq"]
    await deliver(repo, [parted(IB, IA, 2)])
    assert (IA, Q) not in await states(repo)
    (told,) = await deliver(repo, [observed(30, "z", Q, A)])
    assert (told.payload["old_state"], told.payload["seq"]) == ("stable", number + 1)


async def standing(repo: BaseRepository) -> dict[str, str]:
    return {row["identity_uuid"]: row["alert_id"] for row in await repo.standing_alerts()}


def alert(identity: str) -> Any:
    return {"identity_uuid": identity, "attacker_uuids": [], "primitives": ["p", "q"], "families": [], "sides": [],
            "confidence": 0.5, "ts": 1.0, "explanation": {}}  # fmt: skip


async def suspect(repo: BaseRepository, *identities: str) -> None:
    for identity in identities:
        await repo.raise_alert(alert(identity))
        verdict = {
            "identity_uuid": identity,
            "suspected": True,
            "reason": "r",
            "primitives": ["p", "q"],
            "verdict": {"x": 1},
        }
        await repo.store_verdicts([verdict], [(identity, 0)])  # type: ignore[list-item]


async def test_alerts_of_losers_close_and_a_split_closes_that_of_the_winner_and_asks_again(
    repo: BaseRepository,
) -> None:
    await suspect(repo, IA, IB)
    await deliver(repo, [merged(IA, IB, 1)])
    assert set(await standing(repo)) == {IA}
    assert [row["identity_uuid"] for row in await repo.list_multi_actor_identities()] == [IA]
    assert {who for who, _, _ in await repo.due_identities(9)} == {IA}, "examined again with all its sessions"
    await repo.store_verdicts([], [(who, version) for who, _, version in await repo.due_identities(9)])
    await deliver(repo, [parted(IB, IA, 2)])
    assert await standing(repo) == {}
    assert await repo.list_multi_actor_identities() == []
    assert await repo.verdict_of(IA) is None
    assert {who for who, _, _ in await repo.due_identities(9)} == {IA, IB}


async def test_a_verdict_that_comes_after_the_merge_raises_nothing(repo: BaseRepository) -> None:
    await deliver(repo, [merged(IA, IB, 1)])
    await suspect(repo, IB)
    assert await repo.list_multi_actor_identities() == []


# --- several operators, or a link that is wrong ------------------------------------------------------


async def act(repo: BaseRepository, attacker: str, rows: Iterable[Row]) -> None:
    frame = {"attacker_uuid": attacker, "identity_uuid": identity_id(attacker), "rank": "1"}
    await repo.upsert_session_features([{**row, **frame} for row in rows])  # type: ignore[typeddict-item]


async def ticked(repo: BaseRepository) -> list[Row]:
    """The standing alerts after a tick."""
    await tick_multi_actor(None, repo, await fired_alerts(repo))
    return [dict(row) for row in await repo.standing_alerts()]


def of_side(side: int) -> list[Row]:
    return [row for row, who in zip(PAST.rows, PAST.truth, strict=True) if who == side]


async def test_the_claim_on_a_joined_identity_counts_all_its_addresses_and_doubts_the_link(
    repo: BaseRepository,
) -> None:
    await act(repo, A, of_side(0))
    await act(repo, B, of_side(1))
    assert await ticked(repo) == []
    reasons = [{"family": "host", "value": "mdb7.cn", "addresses": 3, "weight": 2.3}]
    why = {"identity_uuid": IA, "confidence": 4.6, "addresses": 2, "reasons": reasons, "against": []}
    await put(repo, "identity_link", why)
    await link(repo, A=None, B=IA)
    (found,) = await ticked(repo)
    assert (found["identity_uuid"], found["attacker_uuids"]) == (IA, sorted([A, B]))
    assert sorted(map(len, found["sides"])) == sorted([len(of_side(0)), len(of_side(1))])
    told = found["explanation"]["link"]
    first = [IPS[0]] if of_side(0)[0]["session_id"] in found["sides"][0] else [IPS[1]]
    assert told["sides"] == [first, [ip for ip in IPS[:2] if [ip] != first]]
    assert (told["doubtful"], told["confidence"], told["reasons"]) == (True, 4.6, reasons)
    assert found["explanation"]["against"][-1].endswith("that is wrong (confidence 4.6: host mdb7.cn)")
    await link(repo, B=None)
    assert await ticked(repo) == [], "apart, neither is suspected, and the alert of both is closed"
    assert {row["identity_uuid"]: row["state"] for row in await repo.list_alerts()} == {IA: "resolved"}


async def test_two_operators_at_each_of_two_addresses_are_no_reason_to_doubt_the_link(
    lite: BaseRepository,
) -> None:
    for attacker, rows in ((A, PAST.rows[::2]), (B, PAST.rows[1::2])):
        await act(lite, attacker, rows)
    await link(lite, A=None, B=IA)
    (found,) = await ticked(lite)
    assert found["identity_uuid"] == IA
    assert "link" not in found["explanation"]


# --- several engines --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_engines_that_merge_form_and_observe_at_once_end_as_one_would(
    kind: str, tmp_path: Path
) -> None:
    """None waits for another one in a ring, and nothing that one did is undone by another."""
    async with database_url(kind, tmp_path) as url:
        engines = [await BaseRepository.open(url) for _ in range(3)]
        try:
            await engines[0].upsert_attackers([(uuid, ip, 1.0) for uuid, ip in zip(WHO, IPS, strict=True)])
            news = [
                merged(IA, IB, 1),
                merged(IB, IC, 2),
                merged(ID, IC, 3),
                parted(IC, ID, 4),
                merged(IA, ID, 5),
            ]
            seen = [[observed(n, "ab"[n % 2], attacker=who)] for n in range(1, 5) for who in WHO]
            work = [deliver(engines[n % 3], [one]) for n, one in enumerate([*news, *news[::-1]])]
            work += [deliver(engines[n % 3], batch) for n, batch in enumerate(seen)]
            work += [engine.form_identities(WHO) for engine in engines]  # type: ignore[misc]
            random.Random(7).shuffle(work)
            await asyncio.gather(*work)
            assert await names(engines[0]) == {IA: IA, IB: IA, IC: IC, ID: IA}
            found = await states(engines[0])
            assert {key: row["observation_count"] for key, row in found.items()} == {(IA, P): 12, (IC, P): 4}
            assert found[IA, P]["last_observation_ts"] == found[IC, P]["last_observation_ts"] == 4.0
        finally:
            await asyncio.gather(*(engine.close() for engine in engines))


async def test_what_is_stored_but_not_heard_of_yet_waits_for_its_news_when_identities_become_one(
    repo: BaseRepository,
) -> None:
    """Of a backlog all would come late otherwise, and each observation be looked for from the end."""
    await deliver(repo, [observed(n, "deep") for n in (1, 2, 3)], [observed(2, "deep", attacker=B)])
    ahead = [observed(n, "shallow", attacker=B) for n in range(11, 21)]
    rows = [row for event in ahead if (row := observation_of(event).row)]
    await repo.insert_observations(rows)
    await deliver(repo, [merged(IA, IB)])
    state = await repo.get_attribution_state(IA, P)
    assert state is not None
    assert (state["state"], state["observation_count"], state["last_observation_ts"]) == ("stable", 4, 3.0)
    await deliver(repo, ahead)
    state = await repo.get_attribution_state(IA, P)
    assert state is not None
    assert (state["current_value"], state["observation_count"], state["last_observation_ts"]) == (
        "shallow",
        14,
        20.0,
    )
