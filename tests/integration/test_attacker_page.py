"""``attacker``: everything of one attacker on a page, with how common each value is; hostile text stays text."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from decnet.config import load_settings
from decnet.db.repository import BaseRepository
from decnet.errors import DecnetError
from decnet.ids import attacker_id
from decnet.intel.places import Places
from decnet_tui.cli.attacker import SHOWN, attacker_page, lines_of
from tests.dbkit import KINDS, open_repo
from tests.integration.test_attackers_told import FILES, IPS, T, filled, moment
from tests.rowkit import put

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=KINDS)
async def repo(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path_factory.mktemp("page")) as opened:
        await filled(opened)
        for n, ip in enumerate(IPS[:3]):
            uuid = attacker_id(ip)
            client = {"version": "SSH-2.0-\x1b[31mred" if n == 2 else "SSH-2.0-Go"}
            session = {
                "session_id": f"v{n}",
                "attacker_uuid": uuid,
                "attacker_ip": ip,
                "decky_id": "web",
                "started_at": T + n,
            }
            await put(opened, "session", {**session, "client": client})
            await put(
                opened,
                "session_thing",
                {"session_id": f"v{n}", "kind": "host", "value": f"h{n // 2}.example"},
            )
            for k in range(SHOWN + 1 if n == 0 else 1):
                login = {"username": f"u{k}", "secret_hmac": "abcd99", "secret": "pw", "success": k == 7}
                await put(
                    opened,
                    "credential",
                    {
                        "credential_id": f"{n}-{k}",
                        "attacker_uuid": uuid,
                        **login,
                        "first_seen": T,
                        "last_seen": T,
                    },
                )
        tag = {
            "uuid": "t1",
            "attacker_uuid": attacker_id(IPS[0]),
            "session_id": "v0",
            "sub_technique_id": "T1059.004",
        }
        await put(opened, "ttp_tag", {**tag, "seen_at": T, "created_at": T})
        yield opened


@pytest.fixture
def places(tmp_path: Path) -> Places:
    (tmp_path / "intel").mkdir()
    for name, data in FILES.items():
        (tmp_path / "intel" / name).write_bytes(data)
    return Places.of(load_settings(data_dir=tmp_path))


async def test_the_page_tells_what_there_is_and_how_common_it_is(
    repo: BaseRepository, places: Places
) -> None:
    told = await attacker_page(repo, places, IPS[0])
    assert told["clients"] == [{"value": "SSH-2.0-Go", "attackers": 2, "times": 2}]
    assert {one["value"]: one["attackers"] for one in told["hosts"]} == {"h.example": 2, "h0.example": 2}
    assert {one["value"]: one["attackers"] for one in told["hashes"]} == {
        "hash a": 1, "hash b": 1, "hash c": 1, "hash of both": 2,
    }  # fmt: skip
    assert told["technique_counts"] == [{"technique": "T1059.004", "tags": 1}]
    assert told["logins"][:2] == [
        {"login": "u7/#abcd", "times": 1, "success": True}, {"login": "u0/#abcd", "times": 1, "success": False},
    ]  # fmt: skip
    assert [one["session_id"] for one in told["sessions"]] == ["a", "b", "c", "v0"]
    text = "\n".join(lines_of(told))
    assert text.startswith(f"{IPS[0]}  NL  AS60729 TORSERVERS  [file ")
    assert "ptr exit.example  list: tor" in text
    assert "4 sessions on 1 decoy  high" in text
    assert "  greynoise: classification malicious  2026-01-02" in text
    assert "SSH-2.0-Go  (at 2 addresses)" in text
    assert "hash a  (at 1 address)" in text
    assert f"log-ins, {SHOWN} of {SHOWN + 1} (--json has all)" in text
    assert "T1059.004  Unix Shell  1" in text


async def test_it_is_found_by_uuid_too_and_in_clear_text_only_where_that_is_asked_for(
    repo: BaseRepository, places: Places
) -> None:
    told = await attacker_page(repo, places, attacker_id(IPS[1]), clear=True)
    assert (told["attacker_ip"], told["logins"][0]["login"]) == (IPS[1], "u0/pw")
    assert (await attacker_page(repo, places, IPS[1]))["logins"][0]["login"] == "u0/#abcd"


async def test_text_of_attackers_moves_no_cursor(repo: BaseRepository, places: Places) -> None:
    text = "\n".join(lines_of(await attacker_page(repo, places, IPS[2])))
    assert "\x1b" not in text
    assert "SSH-2.0-\\e[31mred  (at 1 address)" in text


async def test_who_left_little_has_a_short_page_and_who_is_not_known_none(
    repo: BaseRepository, places: Places
) -> None:
    text = list(lines_of(await attacker_page(repo, places, IPS[3])))
    assert text[0] == f"{IPS[3]}  ptr -"
    assert text[1].endswith("0 sessions on 0 decoys  not judged")
    assert len(text) == 3
    for nobody in ("198.51.100.77", "00000000-0000-4000-8000-000000000000", "no such thing"):
        with pytest.raises(DecnetError, match="no attacker"):
            await attacker_page(repo, places, nobody)
    assert moment(0).timestamp() == T
