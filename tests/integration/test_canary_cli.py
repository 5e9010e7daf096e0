"""``canary mint|list|place|revoke``: rows first, news by the outbox, the journal; what is wrong is one line."""

from __future__ import annotations

import asyncio
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from decnet.db.repository import BaseRepository
from decnet.db.rows.canary import TokenRow
from decnet.decoys.canary.minting import KINDS
from decnet_tui.cli.main import app
from tests.dbkit import KINDS as DATABASES
from tests.dbkit import migrated, migrated_url
from tests.decoykit import token, told
from tests.unit.test_canary_cowriefs import at, picture

ENV = {
    "DECNET_DECOYS__CANARY_HTTP__BASE_URL": "http://files.example",
    "DECNET_DECOYS__CANARY_DNS__ZONE": "c.example",
}


@pytest.fixture
async def place(tmp_path: Path) -> Path:
    await migrated(tmp_path / "decnet.sqlite")
    return tmp_path


def run(place: Path, *arguments: object, **more: Any) -> Any:
    words = ["canary", *map(str, arguments), "--data-dir", str(place)]
    return CliRunner().invoke(app, words, env={**ENV, **more})


def answer(place: Path, *arguments: object) -> Any:
    done = run(place, *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


async def rows(place: Path) -> tuple[list[Any], list[dict[str, Any]], list[Any]]:
    repo = await BaseRepository.open(f"sqlite:///{place / 'decnet.sqlite'}")
    try:
        return await repo.canary_tokens(), await told(repo), await repo.journal()
    finally:
        await repo.close()


def test_the_life_of_a_token(place: Path) -> None:
    minted = answer(
        place, "mint", "page", "--decky", "web-01", "--path", "/srv/share/pass.html", "--memo", "wiki"
    )
    name = minted["token_id"]
    assert (minted["state"], minted["path"], minted["memo"]) == ("minted", "/srv/share/pass.html", "wiki")
    (row,), events, _ = asyncio.run(rows(place))
    assert f"http://files.example/i/{row['slug']}/s.js" in minted["content"]
    assert (row["placed_at"], events) == (None, [])
    out = place / "pass.html"
    done = answer(place, "place", name, "--out", out)
    assert done == {"token_id": name, "path": "/srv/share/pass.html", "file": str(out)}
    assert out.read_text() == minted["content"]
    assert [one["state"] for one in answer(place, "list")] == ["placed"]
    assert answer(place, "revoke", name, "--reason", "moved") == {"revoked": name}
    (shown,) = answer(place, "list")
    assert (shown["state"], shown["trips"], shown["last_peer"]) == ("revoked", 0, None)
    assert "slug" not in shown
    assert "watched" not in shown
    _, events, journal = asyncio.run(rows(place))
    assert [(e["topic"], e["token_id"]) for e in events] == [
        (f"canary.{name}.placed", name),
        (f"canary.{name}.revoked", name),
    ]
    assert (events[0]["decky_id"], events[0]["kind"], events[0]["path"]) == (
        "web-01",
        "page",
        "/srv/share/pass.html",
    )
    assert events[1]["reason"] == "moved"
    assert sorted((line["kind"], line["outcome"]) for line in journal) == [
        ("canary.mint", "verified"), ("canary.place", "verified"), ("canary.revoke", "verified"),
    ]  # fmt: skip
    assert row["slug"] not in json.dumps([events, [dict(line) for line in journal]], default=str)


def test_placing_in_cowrie(place: Path) -> None:
    name = answer(place, "mint", "env", "--decky", "web-01")["token_id"]
    old, new = place / "fs.pickle", place / "new.pickle"
    old.write_bytes(pickle.dumps(picture()))
    assert "has no path" in run(place, "place", name, "--cowrie", old).stderr
    done = run(place, "place", name, "--cowrie", old, "--out", new, "--path", "/srv/app/.env")
    assert done.exit_code == 0
    assert f"filesystem = {new}" in done.stderr
    assert b"http://files.example/i/" in at(pickle.loads(new.read_bytes()), "/srv/app/.env")[7]
    assert pickle.loads(old.read_bytes()) == picture()
    (shown,) = answer(place, "list")
    assert (shown["path"], shown["state"]) == ("/srv/app/.env", "placed")


def test_a_file_that_cannot_be_put_leaves_the_token_as_it_was(place: Path) -> None:
    name = answer(place, "mint", "url", "--decky", "web-01", "--path", "/srv/x")["token_id"]
    (place / "there").touch()
    done = run(place, "place", name, "--out", place / "there")
    assert (done.exit_code, "there already" in done.stderr) == (1, True)
    assert [one["state"] for one in answer(place, "list")] == ["minted"]


def test_what_is_wrong_is_told_in_one_line(place: Path) -> None:
    url = ("mint", "url", "--decky", "web-01")
    name = answer(place, *url)["token_id"]
    answer(place, "revoke", name)
    for arguments, code, words in (
        (("mint", "rune", "--decky", "web-01"), 2, "unknown kind"),
        (("mint", "url", "--decky", "a b"), 2, "no name of a decoy"),
        (("mint", "url", "--decky", "d" * 64), 2, "no name of a decoy"),
        ((*url, "--memo", "x" * 201), 2, "--memo has at most"),
        ((*url, "--path", "srv/x"), 1, "absolute path"),
        (("mint", "docx", "--decky", "web-01", "--json"), 2, "name a file with --out"),
        (("place", "nobody", "--out", place / "x"), 1, "no token nobody"),
        (("place", name, "--out", place / "x"), 1, "was revoked"),
        (("place", name), 2, "say where"),
        (("place", name, "--out", place / "x", "--contents", place), 2, "goes with --cowrie"),
        (("revoke", "nobody"), 1, "no token nobody"),
        (("revoke", name), 1, "revoked before"),
    ):
        done = run(place, *arguments)
        assert (done.exit_code, words in done.stderr) == (code, True), (arguments, done.output)
        assert done.stderr.count("\n") == 1 or code == 2
    assert len(answer(place, "list")) == 1


async def _add(place: Path, row: TokenRow) -> None:
    repo = await BaseRepository.open(f"sqlite:///{place / 'decnet.sqlite'}")
    await repo.canary_add(row)
    await repo.close()


def test_a_token_of_another_service_is_listed_and_has_no_file_here(place: Path) -> None:
    kind = "canarytokens/web"
    asyncio.run(_add(place, token("t1", f"{kind}/t1", kind=kind, decky_id="", memo="on web-01")))
    (shown,) = answer(place, "list")
    assert (shown["state"], shown["kind"], shown["decky_id"], shown["memo"]) == (
        "foreign",
        kind,
        None,
        "on web-01",
    )
    done = run(place, "place", "t1", "--out", place / "x", "--path", "/srv/x")
    assert (done.exit_code, "another service's token" in done.stderr) == (1, True)
    answer(place, "revoke", "t1")
    assert [one["state"] for one in answer(place, "list")] == ["revoked"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_minted_into_a_file(place: Path, kind: str) -> None:
    out = place / KINDS[kind].file
    done = run(place, "mint", kind, "--decky", "web-01", "-o", out)
    assert done.exit_code == 0, done.output
    assert out.stat().st_size > 20
    again = run(place, "mint", kind, "--decky", "web-01", "-o", out)
    assert (again.exit_code, "there already" in again.stderr) == (1, True)
    assert len(answer(place, "list")) == 1, "no row for a file that cannot be"


def test_a_token_that_could_not_come_back_is_not_minted(place: Path) -> None:
    done = run(place, "mint", "url", "--decky", "web-01", DECNET_DECOYS__CANARY_HTTP__BASE_URL="")
    assert (done.exit_code, "decoys.canary_http.base_url" in done.stderr) == (2, True)
    assert answer(place, "list") == []


@pytest.mark.parametrize("kind", DATABASES)
async def test_both_databases_keep_tokens(kind: str, tmp_path: Path) -> None:
    async with migrated_url(kind, tmp_path) as url:
        words = ["canary", "mint", "dns", "--decky", "db-01", "--db", url, "--data-dir", str(tmp_path)]
        done = await asyncio.to_thread(CliRunner().invoke, app, words, env=ENV)
        assert done.exit_code == 0, done.output
        shown = await asyncio.to_thread(
            CliRunner().invoke, app, ["canary", "list", "--json", "--db", url], env=ENV
        )
        assert [row["kind"] for row in json.loads(shown.stdout)] == ["dns"]
