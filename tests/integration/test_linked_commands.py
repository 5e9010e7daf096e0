"""``identities``, ``identity``, ``campaigns``, ``campaign`` and the filters of other lists, as typed; hostile text stays text."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
import stix2
from typer.testing import CliRunner

from decnet.attribution.linking import numbers
from decnet.attribution.linking.told import OPERATOR
from decnet.db.repository import BaseRepository
from decnet.db.repository.lists.campaigns import ASSETS as CAMPAIGN_ASSETS
from decnet.db.repository.lists.campaigns import SCRIPT
from decnet.ids import attacker_id, campaign_id
from decnet_tui.cli.main import app
from decnet_tui.model import identities
from tests.integration.test_linked_lists import DROP, KEY, A, B, C, D, filled
from tests.linkrows import T, address, campaign, identity_of, value, visit, why
from tests.rowkit import put

EVIL = "\x1b]52;c;x\x07[@click=app.quit]\u202e\x9b2J"
PLACES = (
    b"network,country,asn,as_name\n185.220.101.0/24,NL,60729,TORSERVERS\n45.9.148.0/24,DE,49981,WorldStream\n"
)
OLD = campaign_id("key", "old")
EVIL_KIT = campaign_id("key", EVIL)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("linked")
    (place / "intel").mkdir()
    (place / "intel" / "places.csv").write_bytes(PLACES)
    (place / "intel" / "tor.txt").write_text("185.220.101.4\n")
    asyncio.run(_fill(place))
    return place


async def _fill(place: Path) -> None:
    repo = await BaseRepository.open(f"sqlite:///{place / 'decnet.sqlite'}")
    await filled(repo)
    await put(repo, "campaign_merge", {"loser_uuid": OLD, "winner_uuid": KEY})
    one, other = sorted((attacker_id(A), attacker_id(C)))
    said = {"one": one, "other": other, "same": False, "reason": f"two desks {EVIL}", "said_by": "ann"}
    await put(repo, "link_said", {**said, "said_at": T})
    alert = {
        "alert_id": "al-1",
        "identity_uuid": identity_of(A),
        "attacker_uuids": [attacker_id(A)],
        "primitives": ["p"],
    }
    await put(
        repo, "attribution_alert", {**alert, "families": ["client"], "sides": [["a1"], ["b1"]], "ts": T}
    )
    await address(repo, "192.0.2.5", T - 500)
    await address(repo, "192.0.2.6", T - 400, into="192.0.2.5")
    await campaign(repo, EVIL, "key", EVIL, ("192.0.2.5", "192.0.2.6"))
    await value(repo, "host", EVIL, ("192.0.2.5", "192.0.2.6"))
    await why(
        repo,
        "192.0.2.5",
        5.0,
        [("host", EVIL, 2, 2.3), ("operator", EVIL, 2, 0.0), ("campaign", "s", 2, 1.5)],
    )
    await visit(repo, "e1", "192.0.2.5", f"key|{EVIL}", T - 500, host=[EVIL], hash=[EVIL])
    await repo.close()


def asked(data_dir: Path, *words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, [*words, "--data-dir", str(data_dir)])
    assert done.exit_code == code, done.output
    return done.stdout if code == 0 else done.stderr


def rows(data_dir: Path, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(asked(data_dir, *words, "--json"))
    return found


def ids(data_dir: Path, key: str, *words: str) -> list[str]:
    return [row[key] for row in rows(data_dir, *words)]


def test_identities_tell_why_and_how_common_that_is(data_dir: Path) -> None:
    (row,) = rows(data_dir, "identities", "--joined", "--attacker", B)
    assert (row["addresses"], row["confidence"], row["state"]) == ([A, B], 4.6, "joined")
    assert [(one["value"], one["addresses"]) for one in row["reasons"]] == [
        ("ssh-rsa AAAA", 2),
        ("SSH-2.0-Go", 3),
    ]
    text = asked(data_dir, "identities", "--attacker", B)
    assert "+2.9 key ssh-rsa AAAA at 2 addresses; +0.7 client SSH-2.0-Go at 3 addresses" in text
    assert "-0.5 both have a script, and not the same" in text


def test_identities_are_narrowed_by_place_and_campaign(data_dir: Path) -> None:
    assert ids(data_dir, "identity_uuid", "identities", "--country", "de") == [identity_of(A)]
    assert ids(data_dir, "identity_uuid", "identities", "--asn", "AS60729") == [identity_of(C)]
    assert ids(data_dir, "identity_uuid", "identities", "--campaign", DROP[:8]) == [
        identity_of(C),
        identity_of(A),
    ]
    assert ids(data_dir, "identity_uuid", "identities", "--country", "nl", "--campaign", "mdrf") == []
    said = asked(data_dir, "identities", "--joined", "--country", "nl")
    assert said == "nothing matches: ask without --country --joined to see more\n"


def test_who_has_no_joined_identity_is_told_what_makes_one(tmp_path: Path) -> None:
    async def make() -> None:
        await (await BaseRepository.open(f"sqlite:///{tmp_path / 'decnet.sqlite'}")).close()

    asyncio.run(make())
    assert asked(tmp_path, "identities", "--joined").startswith(
        "no identity of several addresses: linking needs"
    )
    assert asked(tmp_path, "identities").startswith("nothing yet: give the engine a log")
    assert asked(tmp_path, "campaigns").startswith(
        "no campaigns yet: one begins when two addresses have the same"
    )
    assert "ask without --since" in asked(tmp_path, "campaigns", "--since", "7d")
    for words in (("campaign", "x"), ("attackers", "--campaign", "x"), ("stats", "--campaign", "x")):
        assert asked(tmp_path, *words, code=1) == "error: no campaign x: `decnet-tui campaigns` lists them\n"
    assert (
        asked(tmp_path, "identity", "x", code=1)
        == "error: no identity x: `decnet-tui identities` lists them\n"
    )


@pytest.mark.parametrize("way", ["identity", "identities show"])
@pytest.mark.parametrize("name", [identity_of(A), f"i-{identity_of(A)[:8]}", A, B])
def test_the_page_of_an_identity_tells_all_that_makes_it_one(data_dir: Path, way: str, name: str) -> None:
    text = asked(data_dir, *way.split(), name)
    head, ident, *rest = text.splitlines()
    assert head == f"IDENTITY i-{identity_of(A)[:8]}  2 addresses  confidence 4.6 (log10)  joined"
    assert ident == f"identity {identity_of(A)}"
    for line in (
        f"  {A}  2026-05-06 .. 2026-05-06  2 sessions  DE  AS49981 WorldStream",
        "  +2.9 key ssh-rsa AAAA at 2 addresses",
        "  +0.7 client SSH-2.0-Go at 3 addresses",
        "  against: -0.5 both have a script, and not the same",
        f"  {identities.TOOLKITS}",
        f"  {identities.SOFT}",
        f"  c-{KEY[:8]}  2 addresses  key of mdrfckr",
        f"  c-{DROP[:8]}  2 addresses  sha256 f00d",
        "  T1105      Ingress Tool Transfer  2",
    ):
        assert line in rest, line
    assert identities.RENTED not in text, "a key is among the reasons"
    assert "are not the same  2026-05-06 by ann: two desks \\e]52" in text
    assert "al-1  open  client" in text


def test_a_merged_identity_shows_what_it_is_part_of(data_dir: Path) -> None:
    told = json.loads(asked(data_dir, "identity", identity_of(B), "--json"))
    assert (told["asked"], told["identity_uuid"]) == (identity_of(B), identity_of(A))
    text = asked(data_dir, "identity", identity_of(B))
    assert text.startswith(f"i-{identity_of(B)[:8]} is part of this identity now (merged)\nIDENTITY i-")


def test_an_identity_of_one_address_says_what_it_cannot_say(data_dir: Path) -> None:
    told = json.loads(asked(data_dir, "identity", D, "--json"))
    assert (told["state"], told["cannot_tell"]) == ("own", [identities.THROUGH_ONE, identities.SOFT])
    text = asked(data_dir, "identity", D)
    assert "\nwhy" not in text


def test_stats_are_of_a_place_or_of_the_addresses_of_a_campaign(data_dir: Path) -> None:
    def told(*words: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(asked(data_dir, "stats", *words, "--json"))
        return {
            kind: [one["value"] for one in found[kind]["top"]] for kind in ("countries", "hosts", "hashes")
        }

    assert told("--campaign", DROP) == {"countries": ["DE", "NL"], "hosts": [], "hashes": ["f00d"]}
    assert told("--country", "NL") == {"countries": ["NL"], "hosts": [], "hashes": ["f00d"]}
    assert told("--asn", "49981", "--campaign", "mdrf")["hosts"] == ["mdb7.cn", "a.cn"]
    assert (
        asked(data_dir, "stats", "--country", "xx") == "nothing matches: ask without --country to see more\n"
    )


def test_campaigns_say_who_since_when_and_with_what(data_dir: Path) -> None:
    found = {row["campaign_uuid"]: row for row in rows(data_dir, "campaigns")}
    assert set(found) == {KEY, DROP, EVIL_KIT}
    assert set(found[KEY]) == {
        "campaign_uuid", "name", "addresses", "attacker_uuids", "identities", "sessions", "first_seen", "last_seen",
        "payload_hosts", "hashes", "techniques", "reasons",
    }  # fmt: skip
    assert (found[KEY]["addresses"], found[KEY]["payload_hosts"]) == ([A, B], ["mdb7.cn", "a.cn"])
    assert ids(data_dir, "campaign_uuid", "campaigns", "--country", "NL") == [DROP]
    assert ids(data_dir, "campaign_uuid", "campaigns", "--asn", "49981", "--attacker", A) == [KEY]
    text = asked(data_dir, "campaigns", "--attacker", A)
    assert text.splitlines()[1].startswith(f"c-{KEY[:8]}     2          1           3         2026-05-06 ")


@pytest.mark.parametrize("name", [KEY, f"c-{KEY[:8]}", "mdrf"])
def test_the_page_of_a_campaign_tells_its_assets_addresses_and_files(data_dir: Path, name: str) -> None:
    lines = asked(data_dir, "campaign", name).splitlines()
    assert lines[0] == f"CAMPAIGN c-{KEY[:8]}  key of mdrfckr"
    assert lines[2] == "seen 2026-05-06 .. 2026-05-06  3 sessions of 2 addresses, 1 identity"
    for line in (
        "  key ssh-rsa AAAA  (at 2 addresses)",
        f"  {identities.ONE_KIT}",
        f"  {A:<16} DE  AS49981 WorldStream",
        f"  i-{identity_of(A)[:8]}  4.6  {A} {B}",
        "  mdb7.cn",
        "  T1105      Ingress Tool Transfer",
    ):
        assert line in lines, line


def test_a_merged_campaign_shows_the_winner_and_says_so(data_dir: Path) -> None:
    text = asked(data_dir, "campaign", OLD[:8])
    assert text.startswith(f"c-{OLD[:8]} is part of this campaign now (merged)\nCAMPAIGN c-{KEY[:8]}")
    assert json.loads(asked(data_dir, "campaign", OLD, "--json"))["asked"] == OLD
    assert ids(data_dir, "attacker_ip", "attackers", "--campaign", OLD) == [B, A]


def test_attackers_have_their_campaigns_and_lists_are_narrowed_by_one(data_dir: Path) -> None:
    found = {row["attacker_ip"]: row["campaigns"] for row in rows(data_dir, "attackers")}
    assert (found[A], sorted(found[B]), found[D]) == ([KEY], sorted([KEY, DROP]), [])
    assert ids(data_dir, "attacker_ip", "attackers", "--campaign", DROP) == [C, B]
    assert ids(data_dir, "attacker_ip", "attackers", "--campaign", DROP, "--country", "nl") == [C]
    assert ids(data_dir, "session_id", "sessions", "--campaign", DROP) == ["c1", "b2"]
    assert ids(data_dir, "technique_id", "tags", "--campaign", DROP) == ["T1496"]
    assert f"c-{KEY[:8]}" in asked(data_dir, "attackers", "--attacker", A)
    empty = asked(data_dir, "tags", "--campaign", f"c-{EVIL_KIT[:8]}")
    assert empty == "nothing matches: ask without --campaign to see more\n"


def test_the_page_of_an_attacker_says_of_whom_it_is_part_and_why(data_dir: Path) -> None:
    lines = asked(data_dir, "attacker", B).splitlines()
    at = lines.index(f"IDENTITY i-{identity_of(A)[:8]}  2 addresses  4.6")
    assert lines[at + 1 : at + 4] == [
        "  +2.9 key ssh-rsa AAAA at 2 addresses",
        "  +0.7 client SSH-2.0-Go at 3 addresses",
        "  against: -0.5 both have a script, and not the same",
    ]
    campaigns = sorted([(KEY, "key of mdrfckr"), (DROP, "sha256 f00d")])
    assert lines[at + 4 : at + 6] == [
        f"CAMPAIGN c-{uuid[:8]}  2 addresses  {name}" for uuid, name in campaigns
    ]
    assert "IDENTITY" not in asked(data_dir, "attacker", D)


def test_exports_are_of_an_identity_or_a_campaign_and_say_where_from(data_dir: Path) -> None:
    def exported(*words: str) -> str:
        return asked(data_dir, "export", *words, "-o", "-")

    found = [json.loads(line) for line in exported("jsonl", "--identity", B).splitlines()]
    assert {one["technique_id"] for one in found} == {"T1105", "T1098", "T1496"}
    assert {one["country"] for one in found} == {"DE"}
    assert {tuple(one["identity_addresses"]) for one in found} == {(A, B)}
    kit = list(csv.DictReader(io.StringIO(exported("csv", "--campaign", "f00d"))))
    assert [(one["technique_id"], one["asn"], one["as_name"]) for one in kit] == [
        ("T1496", "49981", "WorldStream")
    ]
    assert sorted(kit[0]["campaigns"].split()) == sorted([KEY, DROP])
    assert exported("csv", "--country", "nl").count("\n") == 1, "nobody from there was tagged"
    layer = json.loads(exported("navigator", "--campaign", DROP[:8]))
    assert layer["description"] == f"campaign {DROP[:8]}, all that is stored"
    assert [one["value"] for one in layer["metadata"] if one["name"] == "identity"] == [
        f"{identity_of(A)}: {A} {B}"
    ]
    kinds = [one.type for one in stix2.parse(exported("stix")).objects]
    assert (kinds.count("campaign"), kinds.count("intrusion-set"), kinds.count("location")) == (2, 1, 1)
    assert kinds.count("infrastructure") == 2, "what its addresses fetched from"
    said = asked(data_dir, "export", "stix", "--identity", "nobody", "-o", "-", code=1)
    assert said == "error: no identity nobody: `decnet-tui identities` lists them\n"


@pytest.mark.parametrize(
    "words",
    [
        ("identities",), ("campaigns",), ("identity", "192.0.2.6"), ("campaign", EVIL_KIT), ("attacker", "192.0.2.5"),
        ("attackers",), ("identity", A),
    ],
)  # fmt: skip
def test_what_attackers_wrote_moves_no_cursor(data_dir: Path, words: tuple[str, ...]) -> None:
    for more in ((), ("--json",)):
        said = asked(data_dir, *words, *more)
        assert not [c for c in said if not (c.isprintable() or c == "\n") or c in "\u202e\x9b"], said


def test_a_link_without_a_key_says_that_a_host_may_be_rented(data_dir: Path) -> None:
    (row,) = rows(data_dir, "identities", "--attacker", A)
    assert identities.RENTED not in identities.cannot_tell(row)  # type: ignore[arg-type]
    row["reasons"] = [{"family": "host", "value": "h", "addresses": 2, "weight": 2.3}]
    assert identities.RENTED in identities.cannot_tell(row)  # type: ignore[arg-type]
    row["reasons"] = [{"family": "tunnel", "value": "t:25", "addresses": 2, "weight": 2.1}]
    told = identities.cannot_tell(row)  # type: ignore[arg-type]
    assert (identities.RELAYED in told, identities.RENTED in told) == (True, False)


def test_families_are_called_as_linking_calls_them() -> None:
    ours = (identities.KEY, identities.HOST, identities.FILE, identities.TUNNEL)
    assert ours == (numbers.KEY, numbers.HOST, numbers.FILE, numbers.TUNNEL)
    assert (identities.SCRIPT, identities.KIT, identities.OPERATOR) == (
        numbers.SCRIPT,
        numbers.CAMPAIGN,
        OPERATOR,
    )
    assert SCRIPT == numbers.SCRIPT
    assert set(CAMPAIGN_ASSETS) == {numbers.KEY, numbers.FILE, numbers.SCRIPT}
