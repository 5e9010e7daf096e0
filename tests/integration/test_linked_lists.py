"""Identities and campaigns as lists have them: members, reasons, commonness, filters, marks, names; on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import pytest_asyncio

from decnet.db.repository import BaseRepository
from decnet.db.repository.conditions import Whose
from decnet.db.repository.lists.campaigns import MAX_REASONS
from decnet.db.repository.lists.evidence import Judged
from decnet.errors import AmbiguousId
from decnet.ids import attacker_id, campaign_id
from tests.dbkit import KINDS, open_repo
from tests.linkrows import T, address, campaign, identity_of, value, visit, why
from tests.rowkit import emptied, put
from tests.unit.test_db_engine_guards import statements

pytestmark = pytest.mark.asyncio(loop_scope="module")
A, B, C, D = "45.9.148.2", "45.9.148.3", "185.220.101.4", "198.51.100.9"
KEY, DROP = campaign_id("key", "ssh-rsa AAAA"), campaign_id("sha256", "f00d")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=KINDS)
async def database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path_factory.mktemp("linked")) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def repo(database: BaseRepository) -> BaseRepository:
    """A and B are one by a key, and a campaign; B and C share a file, and are another one; D is alone."""
    return await filled(await emptied(database))


async def filled(repo: BaseRepository) -> BaseRepository:
    await address(repo, A, T)
    await address(repo, B, T + 1, into=A)
    await address(repo, C, T + 2)
    await address(repo, D, T + 3)
    await value(repo, "client", "SSH-2.0-Go", (A, B, C))
    await campaign(repo, "key of mdrfckr", "key", "ssh-rsa AAAA", (A, B))
    await campaign(repo, "sha256 f00d", "sha256", "f00d", (B, C))
    await why(
        repo, A, 4.6, [("key", "ssh-rsa AAAA", 2, 2.9), ("client", "SSH-2.0-Go", 2, 0.7)], [("script", -0.5)]
    )
    more: dict[str, Any] = {"host": ["mdb7.cn"], "hash": ["k1"], "techniques": ["T1105", "T1098"]}
    await visit(repo, "a1", A, "key|ssh-rsa AAAA", T, **more)
    await visit(repo, "a2", A, "key|ssh-rsa AAAA", T + 50, host=["mdb7.cn", "a.cn"], techniques=["T1105"])
    await visit(repo, "b1", B, "key|ssh-rsa AAAA", T + 20)
    await visit(repo, "b2", B, "sha256|f00d", T + 30, hash=["f00d"], techniques=["T1496"])
    await visit(repo, "c1", C, "sha256|f00d", T + 40, hash=["f00d"])
    await visit(repo, "d1", D, None, T + 60)
    return repo


def names(rows: Sequence[Any], key: str) -> list[Any]:
    return [row[key] for row in rows]


async def test_an_identity_has_all_its_addresses_and_why_with_how_common_each_value_is_now(
    repo: BaseRepository,
) -> None:
    rows = {row["identity_uuid"]: row for row in await repo.list_identities()}
    assert rows[identity_of(A)] == {
        "identity_uuid": identity_of(A),
        "addresses": [A, B],
        "attacker_uuids": [attacker_id(A), attacker_id(B)],
        "confidence": 4.6,
        "reasons": [
            {"family": "key", "value": "ssh-rsa AAAA", "addresses": 2, "weight": 2.9},
            {"family": "client", "value": "SSH-2.0-Go", "addresses": 3, "weight": 0.7},
        ],
        "against": [{"family": "script", "weight": -0.5}],
        "merged_into": None,
        "state": "joined",
    }
    merged, alone = rows[identity_of(B)], rows[identity_of(C)]
    assert (merged["state"], merged["merged_into"], merged["addresses"]) == ("merged", identity_of(A), [B])
    assert (alone["state"], alone["addresses"], alone["confidence"], alone["reasons"]) == (
        "own",
        [C],
        0.0,
        [],
    )


async def test_commonness_leaves_out_what_linking_did_not_keep_and_of_a_kit_counts_the_kit(
    repo: BaseRepository,
) -> None:
    await value(repo, "host", "h.cn", (A, B))
    await put(
        repo,
        "link_value",
        {"attacker_uuid": attacker_id(C), "term_id": "host|h.cn", "first_at": T, "kept": False},
    )
    await value(repo, "script", "s1", (C,), kit_root="kit")
    kit = {"kind": "kit", "root": "kit", "founder": "kit", "founded_at": T, "label": "s0", "addresses": 41}
    await put(repo, "link_group", kit)
    reasons = [("host", "h.cn", 9, 2.0), ("campaign", "s1", 3, 1.5), ("credentials", "9 log-ins", 7, 0.6)]
    await why(repo, C, 1.0, reasons)
    row = await repo.get_identity(identity_of(C))
    assert row is not None
    assert names(row["reasons"], "addresses") == [2, 41, 7], "what has no row keeps the number of the link"


async def test_identities_are_asked_for_by_any_of_their_addresses(repo: BaseRepository) -> None:
    async def found(**options: Any) -> list[str]:
        return names(await repo.list_identities(**options), "identity_uuid")

    one = [identity_of(A)]
    assert await found(attacker=B) == await found(attacker=attacker_id(A)) == one
    assert await found(joined=True) == one
    assert await found(whose=Whose([attacker_id(B)])) == one
    assert await found(whose=Whose(campaign=DROP)) == [identity_of(C), identity_of(A)]
    assert await found(whose=Whose([])) == []
    assert await found(since=T + 3) == [identity_of(D)]
    assert (await found(since=T + 1))[:2] == [identity_of(D), identity_of(C)]
    assert await found(limit=1) == [identity_of(D)]


async def test_a_campaign_has_the_sessions_of_its_assets_only(repo: BaseRepository) -> None:
    first, second = await repo.list_campaigns()
    assert {first["campaign_uuid"], second["campaign_uuid"]} == {KEY, DROP}
    key, drop = (first, second) if first["campaign_uuid"] == KEY else (second, first)
    assert key["first_seen"] is not None
    assert key["last_seen"] is not None
    assert (key["first_seen"].timestamp(), key["last_seen"].timestamp()) == (T, T + 59)
    assert {**key, "first_seen": 0, "last_seen": 0} == {
        "campaign_uuid": KEY,
        "name": "key of mdrfckr",
        "addresses": [A, B],
        "attacker_uuids": [attacker_id(A), attacker_id(B)],
        "identities": [identity_of(A)],
        "sessions": 3,
        "first_seen": 0,
        "last_seen": 0,
        "payload_hosts": ["mdb7.cn", "a.cn"],
        "hashes": ["k1"],
        "techniques": ["T1098", "T1105"],
        "reasons": [{"family": "key", "value": "ssh-rsa AAAA", "addresses": 2, "steps": []}],
    }
    assert (drop["addresses"], drop["sessions"], drop["techniques"]) == ([B, C], 2, ["T1496"])
    assert drop["identities"] == sorted([identity_of(A), identity_of(C)])


async def test_the_clearest_assets_come_first_and_scripts_say_what_they_do(repo: BaseRepository) -> None:
    root = {"campaign_root": "key|ssh-rsa AAAA"}
    for n in range(MAX_REASONS):
        await value(
            repo,
            "script",
            f"s{n:02}",
            (A, B) if n == 5 else (A,),
            marks=["wget @", "wget @\nsh", "sh"],
            **root,
        )
    await value(repo, "sha256", "beef", (B,), **root)
    (row,) = await repo.list_campaigns(campaign=KEY)
    assert [(one["family"], one["value"], one["addresses"]) for one in row["reasons"][:4]] == [
        ("key", "ssh-rsa AAAA", 2), ("sha256", "beef", 1), ("script", "s05", 2), ("script", "s00", 1),
    ]  # fmt: skip
    assert [one["steps"] for one in row["reasons"][1:3]] == [[], ["wget @", "sh"]]
    assert len(row["reasons"]) == MAX_REASONS, "the most that are told"


async def test_campaigns_are_narrowed_at_their_borders(repo: BaseRepository) -> None:
    async def found(**options: Any) -> list[str]:
        return sorted(names(await repo.list_campaigns(**options), "campaign_uuid"))

    assert await found(since=T + 59) == [KEY], "its last session ended then"
    assert await found(since=T + 59.5) == []
    assert await found(attacker=A) == [KEY]
    assert await found(attacker=B) == sorted([KEY, DROP])
    assert await found(attacker=D) == []
    assert await found(whose=Whose([attacker_id(C)])) == await found(campaign=DROP) == [DROP]
    assert len(await found(limit=1)) == 1
    await campaign(repo, "large", "key", "large", (A, B, C))
    assert (await repo.list_campaigns(limit=1))[0]["name"] == "large", "most addresses first"


async def test_a_campaign_of_one_address_is_none_and_one_of_ignored_addresses_is_not_shown(
    repo: BaseRepository,
) -> None:
    await campaign(repo, "lost all but one", "key", "lonely", (C,))
    await address(repo, "192.0.2.77", T, ignored_by="own")
    await address(repo, "192.0.2.78", T + 1, ignored_by="own")
    ours = await campaign(repo, "our scanner", "key", "ours", ("192.0.2.77", "192.0.2.78"))
    await visit(repo, "o1", "192.0.2.77", "key|ours", ignored_by="own")
    half = await campaign(repo, "half ours", "key", "half", (D, "192.0.2.78"))
    assert sorted(names(await repo.list_campaigns(), "campaign_uuid")) == sorted([KEY, DROP, half])
    (shown,) = await repo.list_campaigns(campaign=half)
    assert shown["addresses"] == [D]
    (all_of_it,) = await repo.list_campaigns(campaign=ours, ignored=True)
    assert (all_of_it["addresses"], all_of_it["sessions"]) == (["192.0.2.77", "192.0.2.78"], 1)
    assert await repo.campaigns_by_attacker([attacker_id(C)]) == {
        attacker_id(C): [{"campaign_uuid": DROP, "name": "sha256 f00d", "addresses": 2}]
    }


async def test_sessions_and_tags_of_a_campaign_are_its_own_attackers_all(repo: BaseRepository) -> None:
    whose = Whose(campaign=DROP)
    assert names(await repo.list_sessions(whose=whose), "session_id") == ["c1", "b2"]
    assert names(await repo.list_tags(whose=whose), "technique_id") == ["T1496"]
    assert names(await repo.list_attackers(whose=whose), "attacker_ip") == [C, B]
    assert names(await repo.list_attackers(whose=Whose([attacker_id(D)])), "attacker_ip") == [D]
    assert await repo.list_attackers(whose=Whose([attacker_id(D)], DROP)) == []
    assert await repo.list_sessions(judged=Judged(playbook="pb-none"), whose=whose) == []


async def test_tags_of_an_identity_are_those_of_all_its_addresses_and_those_that_name_it(
    repo: BaseRepository,
) -> None:
    for n, uuid in enumerate((identity_of(A), identity_of(B), identity_of(C))):
        tag = {"uuid": f"i{n}", "attacker_uuid": None, "identity_uuid": uuid, "technique_id": f"T900{n}"}
        await put(repo, "ttp_tag", {**tag, "seen_at": T, "created_at": T})
    rows = await repo.list_tags(whose=Whose(identity=identity_of(A)), limit=0)
    assert {row["technique_id"] for row in rows} == {"T1105", "T1098", "T1496", "T9000", "T9001"}
    assert {row["identity_uuid"] for row in rows} == {identity_of(A)}, "a tag of a part names the whole"


async def test_an_identity_is_named_by_id_beginning_or_address(repo: BaseRepository) -> None:
    a, b = identity_of(A), identity_of(B)
    assert await repo.identity_named(a) == await repo.identity_named(a[:4]) == (a, None)
    assert await repo.identity_named(f"i-{a[:8]}") == (a, None)
    assert await repo.identity_named(B) == await repo.identity_named(attacker_id(B)) == (a, None)
    assert await repo.identity_named(b) == await repo.identity_named(b[:8]) == (a, b)
    for nobody in (a[:3], "203.0.113.1", "no such", "%", ""):
        assert await repo.identity_named(nobody) is None
    for n in range(2):
        await put(repo, "identity", {"identity_uuid": f"abcdef0{n}", "attacker_uuid": None})
    with pytest.raises(AmbiguousId, match="2 identities have the name abcdef: abcdef00, abcdef01"):
        await repo.identity_named("abcdef")


async def test_a_campaign_is_named_by_id_beginning_or_a_part_of_its_name(repo: BaseRepository) -> None:
    assert await repo.campaign_named(KEY) == await repo.campaign_named(f"c-{KEY[:4]}") == (KEY, None)
    assert await repo.campaign_named("MDRF") == (KEY, None)
    for nobody in (KEY[:3], "%", "", "no such"):
        assert await repo.campaign_named(nobody) is None
    await campaign(repo, "key of others", "key", "others", (C, D))
    with pytest.raises(AmbiguousId, match="2 campaigns have the name key of"):
        await repo.campaign_named("key of")


async def test_a_merged_campaign_is_what_it_is_now_over_any_steps(repo: BaseRepository) -> None:
    oldest, older = campaign_id("key", "oldest"), campaign_id("key", "older")
    for loser, winner in ((oldest, older), (older, KEY)):
        await put(repo, "campaign_merge", {"loser_uuid": loser, "winner_uuid": winner})
    assert await repo.campaign_named(oldest) == await repo.campaign_named(oldest[:8]) == (KEY, oldest)
    for loser, winner in (("aaaa1", "aaaa2"), ("aaaa2", "aaaa1")):
        await put(repo, "campaign_merge", {"loser_uuid": loser, "winner_uuid": winner})
    assert await repo.campaign_named("aaaa1") is not None, "a circle ends"


async def test_the_hosts_of_attackers_are_those_of_all_their_shown_sessions(repo: BaseRepository) -> None:
    await visit(repo, "d2", D, None, T, host=["own.cn"], ignored_by="own")
    uuids = [attacker_id(A), attacker_id(D)]
    assert await repo.things_by_attacker(uuids, "host") == {attacker_id(A): ["a.cn", "mdb7.cn"]}
    assert (await repo.things_by_attacker(uuids, "host", ignored=True))[attacker_id(D)] == ["own.cn"]


async def test_what_operators_said_is_told_with_who_and_when(repo: BaseRepository) -> None:
    one, other = sorted((attacker_id(A), attacker_id(C)))
    row = {"one": one, "other": other, "same": False, "reason": "two desks", "said_by": "ann"}
    await put(repo, "link_said", {**row, "said_at": T})
    (said,) = await repo.said_of([attacker_id(C), attacker_id(D)])
    assert said["said_at"] is not None
    assert {**said, "said_at": said["said_at"].timestamp()} == {**row, "said_at": T}
    assert await repo.said_of([attacker_id(B)]) == []
    assert await repo.addresses_of_attackers([one, other, "nobody"]) == {attacker_id(A): A, attacker_id(C): C}


async def test_the_addresses_of_an_identity_are_told_with_their_spans_and_sessions(
    repo: BaseRepository,
) -> None:
    rows = await repo.members_seen(identity_of(A))
    assert [(row["attacker_ip"], row["sessions"], row["identity_uuid"]) for row in rows] == [
        (A, 2, identity_of(A)), (B, 2, identity_of(B)),
    ]  # fmt: skip
    assert await repo.techniques_of(Whose(identity=identity_of(A))) == [
        ("T1105", 2),
        ("T1098", 1),
        ("T1496", 1),
    ]


async def test_a_search_finds_identities_campaigns_keys_and_hosts(repo: BaseRepository) -> None:
    async def found(text: str, **options: Any) -> list[tuple[Any, ...]]:
        rows = await repo.find(text, **options)
        return [(row["kind"], row["value"], row["attacker_ip"]) for row in rows]

    assert await found(identity_of(A)) == [("identity", identity_of(A), A)]
    assert await found(KEY) == await found("mdrfckr") == [("campaign", f"{KEY} key of mdrfckr", None)]
    keys = [("key", "ssh-rsa AAAA", A), ("key", "ssh-rsa AAAA", B)]
    assert sorted(await found("rsa aaa")) == keys
    assert sorted(await found("rsa AAA", since=T)) == keys
    assert await found("rsa AAA", since=T + 1) == []
    await value(repo, "host", "drop.cn", (D,))
    assert await found("drop.cn", limit=1) == [("host", "drop.cn", D)]
    (row,) = await repo.find("drop.cn")
    assert row["ts"] is not None
    assert (row["ts"].timestamp(), row["attacker_uuid"]) == (T, attacker_id(D))


async def test_a_search_leaves_out_campaigns_of_ignored_addresses_only(repo: BaseRepository) -> None:
    for n in (7, 8):
        await address(repo, f"192.0.2.{n}", T, ignored_by="own")
    await campaign(repo, "our scanner", "key", "ours", ("192.0.2.7", "192.0.2.8"))
    await campaign(repo, "was scanner", "key", "lonely", (C,))
    assert await repo.find("scanner") == []
    (row,) = await repo.find("scanner", ignored=True)
    assert row["value"] == f"{campaign_id('key', 'ours')} our scanner"


async def test_a_list_asks_as_often_for_many_rows_as_for_few(repo: BaseRepository) -> None:
    async def asked() -> list[int]:
        counts = []
        for ask in (
            lambda: repo.list_campaigns(limit=0),
            lambda: repo.list_identities(limit=0),
            lambda: repo.list_tags(limit=0, whose=Whose(identity=identity_of(A))),
            lambda: repo.campaigns_by_attacker([attacker_id(f"203.0.113.{n}") for n in range(60)]),
            lambda: repo.members_seen(identity_of(A)),
            lambda: repo.campaign_named("mdrf"),
        ):
            async with statements(repo.db, reads=True) as heard:
                await ask()
            counts.append(len(heard))
        return counts

    few = await asked()
    ips = [f"203.0.113.{n}" for n in range(60)]
    for n, ip in enumerate(ips):
        await address(repo, ip, T + n, into=A if n % 2 else None)
    for n in range(20):
        await campaign(repo, f"kit {n}", "key", f"k{n}", ips[n : n + 20])
        await visit(repo, f"k{n}", ips[n], f"key|k{n}", T, host=["h"], hash=["x"], techniques=["T1105"])
        await why(repo, ips[2 * n], 4.0, [("key", f"k{n}", 2, 3.0)])
    assert len(await repo.list_campaigns(limit=0)) == 22
    assert await asked() == few


async def test_more_members_than_one_statement_takes_are_all_there(repo: BaseRepository) -> None:
    ips = [f"10.{n // 256}.{n % 256}.1" for n in range(1_203)]
    rows = [{"attacker_uuid": attacker_id(ip), "ip": ip, "first_seen": T, "last_seen": T} for ip in ips]
    held = [
        {"attacker_uuid": row["attacker_uuid"], "term_id": "key|large", "first_at": T, "kept": True}
        for row in rows
    ]
    await put(repo, "attacker", *rows)
    large = await campaign(repo, "large", "key", "large", (), addresses=len(ips))
    await put(repo, "link_value", *held)
    (row,) = await repo.list_campaigns(campaign=large)
    assert sorted(row["addresses"]) == sorted(ips)
    assert len(await repo.list_attackers(whose=Whose(row["attacker_uuids"]), limit=0)) == len(ips)
    assert await repo.addresses_of_attackers(row["attacker_uuids"]) == {
        one["attacker_uuid"]: one["ip"] for one in rows
    }
    assert len(await repo.campaigns_by_attacker(row["attacker_uuids"])) == len(ips)


@pytest.mark.parametrize("limit", [1, 2, 5, 6, 7, 100])
async def test_the_latest_attackers_are_those_of_the_whole_list(repo: BaseRepository, limit: int) -> None:
    for n in range(4):
        uuid = attacker_id(f"192.0.2.{n}")
        told = {
            "attacker_uuid": uuid,
            "ip": f"192.0.2.{n}",
            "last_seen": None,
            "told_at": T + 2 * n + 0.5 if n else None,
        }
        await put(repo, "attacker", {**told, "ignored_by": "own" if n == 3 else None})
    for options in (
        {},
        {"ignored": True},
        {"since": T + 2},
        {"whose": Whose(campaign=DROP)},
        {"technique": "T1105"},
    ):
        whole = await repo.list_attackers(limit=0, **options)  # type: ignore[arg-type]
        assert await repo.list_attackers(limit=limit, **options) == whole[:limit], options  # type: ignore[arg-type]
    assert names(await repo.list_attackers(limit=3), "attacker_ip") == ["192.0.2.2", D, "192.0.2.1"]


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6, 7, 8, 9, 100])
async def test_the_latest_identities_are_those_of_the_whole_list(repo: BaseRepository, limit: int) -> None:
    await address(repo, "192.0.2.1", T - 9)
    await address(repo, "192.0.2.2", T + 9, into="192.0.2.1", ignored_by="own")
    await address(repo, "192.0.2.3", T + 2)
    await put(repo, "identity", {"identity_uuid": "outer", "attacker_uuid": None})
    for n in (4, 5):
        told = {
            "attacker_uuid": attacker_id(f"192.0.2.{n}"),
            "ip": f"192.0.2.{n}",
            "last_seen": None,
            "told_at": T + n,
        }
        await put(repo, "attacker", told)
    await put(repo, "identity", {"identity_uuid": "told", "attacker_uuid": attacker_id("192.0.2.5")})
    await put(
        repo, "attacker", {"attacker_uuid": "never", "ip": "192.0.2.6", "last_seen": None, "told_at": None}
    )
    await put(repo, "identity", {"identity_uuid": "never", "attacker_uuid": "never"})
    whole = names(await repo.list_identities(limit=0), "identity_uuid")
    assert whole[:3] == [identity_of("192.0.2.1"), "told", identity_of(D)], (
        "a part that is ignored was seen all the same"
    )
    assert len(whole) == 9
    for options in ({}, {"ignored": True}, {"since": T + 2}, {"since": T + 5}, {"joined": True}):
        every = names(await repo.list_identities(limit=0, **options), "identity_uuid")  # type: ignore[arg-type]
        found = names(await repo.list_identities(limit=limit, **options), "identity_uuid")  # type: ignore[arg-type]
        assert found == every[:limit], options


async def test_coverage_of_a_campaign_counts_the_tags_of_its_sessions_alone(repo: BaseRepository) -> None:
    one, other = "192.0.2.1", "192.0.2.2"
    await address(repo, one)
    await address(repo, other)
    kit = await campaign(repo, "kit", "sha256", "ab" * 32, [one, other])
    term = f"sha256|{'ab' * 32}"
    await visit(repo, "with", one, term, techniques=["T1105"])
    await visit(repo, "also", other, term, at=T + 50, techniques=["T1105", "T1053"])
    await visit(repo, "without", one, None, techniques=["T1082"])
    counts = {row["technique_id"]: row["tags"] for row in await repo.technique_counts(campaign=kit)}
    assert counts == {"T1105": 2, "T1053": 1}
    day = await repo.technique_counts(T - 10, None, T + 10, campaign=kit)
    assert [(row["technique_id"], row["tags"]) for row in day] == [("T1105", 1)]
    assert await repo.technique_counts(campaign="nobody") == []
    behind = await repo.tags_behind("T1105", campaign=kit)
    assert [row["session_id"] for row in behind] == ["also", "with"]
    assert await repo.tags_behind("T1082", campaign=kit) == []
    named = await repo.technique_counts(names={attacker_id(other)}, campaign=kit)
    assert {row["technique_id"]: row["tags"] for row in named} == {"T1105": 1, "T1053": 1}
