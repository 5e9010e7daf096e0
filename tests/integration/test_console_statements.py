"""What a view asks of the store: as many statements for a thousand rows as for ten, on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from decnet.db.repository import BaseRepository
from decnet.ids import attacker_id, campaign_id, identity_id
from decnet_tui.model.feed import Feed
from decnet_tui.model.scope import Of
from decnet_tui.screens import VIEWS
from decnet_tui.screens.actor import ActorLevel
from decnet_tui.screens.alert import AlertLevel
from decnet_tui.screens.base import View
from decnet_tui.screens.campaigns import CampaignLevel, CampaignSessionsLevel
from decnet_tui.screens.compare import CompareLevel
from decnet_tui.screens.evidence import RuleTagsLevel, SessionsLevel, TagsLevel
from decnet_tui.screens.fired import CampaignRulesLevel, FiredRulesLevel
from decnet_tui.screens.found import FoundView
from decnet_tui.screens.indicators import IndicatorsLevel
from decnet_tui.screens.playback import PlaybackLevel
from decnet_tui.screens.session import SessionLevel
from tests.consolekit import StoreSession
from tests.dbkit import KINDS, open_repo
from tests.rowkit import FILL, TABLES, define_rule
from tests.unit.test_db_engine_guards import statements

pytestmark = pytest.mark.asyncio(loop_scope="module")
FEW, MANY = 10, 1000
FIRST = "198.18.0.0"
"""The address that the pages are about; every other one is of its identity and has its kit."""
NOW = datetime.now(UTC)


def address(n: int) -> str:
    return f"198.18.{n // 256}.{n % 256}"


async def put_all(repo: BaseRepository, table: str, rows: list[dict[str, Any]]) -> None:
    async with repo.db.write() as session:
        await (await session.connection()).execute(
            TABLES[table].insert(), [{**FILL.get(table, {}), **row} for row in rows]
        )


async def fill(repo: BaseRepository, begin: int, end: int) -> None:
    """Numbers ``begin`` to ``end`` of everything that a view lists, all of it about the first address, too."""
    numbers = range(begin, end)
    first, uuids = attacker_id(FIRST), {n: attacker_id(address(n)) for n in numbers}
    day = timedelta(days=1)
    at = {n: NOW - day * (n + 1) / (MANY + 1) for n in numbers}
    await put_all(repo, "attacker", [
        {"attacker_uuid": uuids[n], "ip": address(n), "first_seen": at[n], "last_seen": at[n]} for n in numbers])  # fmt: skip
    joined = identity_id(first)
    await put_all(repo, "identity", [
        {"identity_uuid": identity_id(uuids[n]), "attacker_uuid": uuids[n], "merged_into": joined if n and n % 2 == 0 else None}
        for n in numbers])  # fmt: skip
    await put_all(repo, "link_address", [
        {"attacker_uuid": uuids[n], "address": address(n), "identity_uuid": identity_id(uuids[n]), "logins": "",
         "linked_into": joined if n and n % 2 == 0 else None, "founded_at": at[n].timestamp()} for n in numbers])  # fmt: skip
    if not begin:
        past = NOW - 9 * day  # there is a history, so that something can be new
        await put_all(
            repo,
            "session",
            [{"session_id": "past", "attacker_uuid": uuids[9], "started_at": past, "ended_at": past}],
        )
        await put_all(repo, "link_term", [
            {"term_id": "sha256|kit", "family": "sha256", "value": "kit", "campaign_root": "sha256|kit", "kit_root": None}])  # fmt: skip
        await put_all(repo, "link_group", [
            {"kind": "campaign", "root": "sha256|kit", "founder": "sha256|kit", "founded_at": 1.0, "label": "kit",
             "campaign_uuid": campaign_id("sha256", "kit"), "name": "sha256 kit", "addresses": 2}])  # fmt: skip
        await put_all(repo, "identity_link", [
            {"identity_uuid": joined, "confidence": 4.0, "addresses": 2, "against": [],
             "reasons": [{"family": "key", "value": "k", "addresses": 2, "weight": 3.0}]}])  # fmt: skip
    await put_all(repo, "link_value", [
        {"attacker_uuid": uuids[n], "term_id": "sha256|kit", "first_at": at[n].timestamp(), "kept": True} for n in numbers])  # fmt: skip
    for who, name in ((lambda n: first, "a"), (lambda n: uuids[n], "b")):
        await put_all(repo, "session", [
            {"session_id": f"{name}{n:04}", "attacker_uuid": who(n), "attacker_ip": FIRST, "decky_id": f"d{n}", "service": "ssh",
             "protocol": "ssh", "started_at": at[n], "ended_at": at[n], "duration_s": 1.0, "command_count": 1, "tagged_at": at[n]}
            for n in numbers])  # fmt: skip
        await put_all(repo, "session_story", [
            {"session_id": f"{name}{n:04}", "attacker_uuid": who(n), "severity": "low", "rank": 3, "reason": "r", "line": "l",
             "playbook": "pb", "seen_at": at[n], "ended_at": at[n].timestamp(), "lines": 1} for n in numbers])  # fmt: skip
        await put_all(repo, "session_thing", [
            {"session_id": f"{name}{n:04}", "kind": "hash", "value": f"v{n}", "seen_at": at[n]} for n in numbers])  # fmt: skip
        await put_all(repo, "link_session", [
            {"session_id": f"{name}{n:04}", "attacker_uuid": who(n), "term_id": "sha256|kit"} for n in numbers])  # fmt: skip
        await put_all(repo, "ttp_tag", [
            {"uuid": f"{name}{n:04}", "source_id": f"c{n}", "attacker_uuid": who(n), "session_id": f"{name}{n:04}",
             "technique_id": f"T{1000 + n}", "evidence": {"matched": "id"}, "seen_at": at[n], "created_at": at[n]}
            for n in numbers])  # fmt: skip
    await put_all(repo, "command", [
        {"command_id": f"c{n}", "session_id": "a0000", "position": n, "ts": at[n], "command_text": f"wget {n}"} for n in numbers])  # fmt: skip
    await put_all(repo, "ttp_tag", [
        {"uuid": f"c{n:04}", "source_id": f"c{n}", "attacker_uuid": first, "session_id": "a0000", "technique_id": "T1105",
         "seen_at": at[n], "created_at": at[n], "evidence": {"matched": "wget"}} for n in numbers])  # fmt: skip
    await put_all(repo, "attribution_state", [
        {"identity_uuid": joined, "primitive": f"p{n}", "last_change_ts": at[n], "last_observation_ts": at[n],
         "current_value": "v"} for n in numbers])  # fmt: skip
    await put_all(repo, "attribution_alert", [
        {"alert_id": f"al{n}", "identity_uuid": identity_id(uuids[n]), "ordinal": n, "attacker_uuids": [uuids[n]],
         "families": ["client"], "primitives": ["x"], "sides": [["a0000"], ["b0000"]], "ts": at[n], "explanation": {}}
        for n in numbers])  # fmt: skip
    half = end // 2
    both = [[f"a{k:04}" for k in range(half)], [f"a{k:04}" for k in range(half, end)]]
    await put_all(repo, "attribution_alert", [
        {"alert_id": f"all{end}", "identity_uuid": "i", "ordinal": 1, "attacker_uuids": [first], "families": ["client"],
         "primitives": ["x"], "sides": both, "ts": NOW, "explanation": {}}])  # fmt: skip
    await put_all(repo, "session_feature", [
        {"session_id": f"a{n:04}", "attacker_uuid": first, "client": {"session.client": "x"}} for n in numbers])  # fmt: skip
    await put_all(repo, "note", [
        {"ts": at[n], "operator": "o", "about": about, "target": target, "body": "b"}
        for n in numbers for about, target in (("alert", f"all{end}"), ("source", first))])  # fmt: skip
    for n in numbers:
        await define_rule(repo, f"R{n:04}", 1, "name", "emits: [{confidence: 0.5}]", f"R{n:04}.yaml")
    await put_all(repo, "dead_letter", [
        {"letter_key": f"k{n}", "worker": "ttp", "topic": "a.b", "reason": "no", "seq": n, "payload": b"{}", "ts": at[n]}
        for n in numbers])  # fmt: skip
    await put_all(repo, "decky", [
        {"name": f"d{n}", "topology_id": "lab", "address": "", "since": at[n], "archetype": "web", "wanted": True, "desired": ["ssh"], "observed": ["ssh"],
         "state": "running", "substrate": "dry_run"} for n in numbers])  # fmt: skip
    await put_all(repo, "mutation", [
        {"mutation_id": f"m{n}", "target": f"d{n}", "created_at": at[n], "finished_at": at[n], "outcome": {}} for n in numbers])  # fmt: skip
    await put_all(repo, "journal", [
        {"ts": at[n], "kind": "rule.state", "target": f"R{n:04}", "what": "w", "before": {"state": "enabled"},
         "after": {"state": "disabled", "expires_at": at[n].timestamp() + 1}} for n in numbers])  # fmt: skip


def alert_of(n: int) -> Any:
    return {"alert_id": f"all{n}", "identity_uuid": "i"}


def found(feed: Feed) -> View:
    view = FoundView(feed)
    view.look_for("wget")
    return view


A, KIT = attacker_id(FIRST), campaign_id("sha256", "kit")
LINE: Any = {
    "session_count": 1,
    "decky_count": 1,
    "technique_count": 0,
    "techniques": [],
    "campaigns": [],
    "attacker_uuid": A,
    "identity_uuid": identity_id(A),
    "attacker_ip": FIRST,
}
OTHER: Any = {**LINE, "attacker_uuid": attacker_id(address(2)), "attacker_ip": address(2)}
LEVELS: dict[str, Callable[[Feed, int], View]] = {
    **{view.name: lambda feed, _, view=view: view(feed) for view in VIEWS if view.stored},  # type: ignore[misc]
    "an actor": lambda feed, _: ActorLevel(feed, A, FIRST),
    "its sessions": lambda feed, _: SessionsLevel(feed, A, FIRST),
    "a session": lambda feed, _: SessionLevel(feed, "a0000"),
    "indicators of a session": lambda feed, _: IndicatorsLevel(feed, Of("a0000", session="a0000")),
    "indicators of a source": lambda feed, _: IndicatorsLevel(feed, Of(FIRST, attacker=A)),
    "indicators of a campaign": lambda feed, _: IndicatorsLevel(feed, Of("kit", campaign=KIT)),
    "indicators of a span": lambda feed, _: IndicatorsLevel(feed, Of("1d", begin=NOW.timestamp() - 86_400, end=NOW.timestamp())),
    "a recording": lambda feed, _: PlaybackLevel(feed, "a0000"),
    "two actors": lambda feed, _: CompareLevel(feed, LINE, OTHER),
    "rules on an actor": lambda feed, _: FiredRulesLevel(feed, A, FIRST),
    "an alert": lambda feed, n: AlertLevel(feed, alert_of(n), FIRST),
    "a campaign": lambda feed, _: CampaignLevel(feed, KIT),
    "sessions of a campaign": lambda feed, _: CampaignSessionsLevel(feed, KIT),
    "rules on a campaign": lambda feed, _: CampaignRulesLevel(feed, KIT, "kit"),
    "tags of a technique": lambda feed, _: TagsLevel(feed, "T1105", None, 0.0, None),
    "tags of a rule": lambda feed, _: RuleTagsLevel(feed, "R1", "name", None),
    "what was found": lambda feed, _: found(feed),
}  # fmt: skip


INDICATORS = {name for name in LEVELS if name.startswith("indicators")}
"""Of a thousand sessions with one address there are few."""


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=KINDS)
async def counted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[int, dict[str, tuple[list[str], int]]]]:
    """By the number of rows and by view: the statements, and how many rows came."""
    told: dict[int, dict[str, tuple[list[str], int]]] = {}
    async with open_repo(request.param, tmp_path_factory.mktemp("views")) as repo:
        begin = 0
        for many in (FEW, MANY):
            await fill(repo, begin, many)
            begin, told[many] = many, {}
            session = StoreSession(repo)
            await session.list_rules()  # its first time opens the store
            for name, made in LEVELS.items():
                view = made(Feed(), many)
                async with statements(repo.db, reads=True) as heard:
                    data = await view.fetch(session)
                view.load(data)
                told[many][name] = heard, view.count()
        yield told


async def test_a_thousand_rows_are_as_many_statements_as_ten(
    counted: dict[int, dict[str, tuple[list[str], int]]],
) -> None:
    few, many = counted[FEW], counted[MANY]
    more = {
        name: f"{len(few[name][0])} and {len(many[name][0])}"
        for name in LEVELS
        if len(many[name][0]) > len(few[name][0])
    }
    assert more == {}


async def test_the_views_were_asked_for_many_rows(
    counted: dict[int, dict[str, tuple[list[str], int]]],
) -> None:
    """Else the test above would compare nothing; these have few lines whatever is stored, or get them from the bus."""
    short = {name for name, (_, count) in counted[MANY].items() if count < 20 * FEW}
    assert short <= {"since", "campaigns", "two actors", "a recording", "workers", *INDICATORS}
