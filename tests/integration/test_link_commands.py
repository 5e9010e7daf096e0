"""``identities link``, ``unlink``, ``unsay``, ``relink``: said, taken over, journalled, and shown."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from decnet.attribution.link_job import LinkJob
from decnet.config import Settings
from decnet.db.repository import BaseRepository
from decnet.ids import attacker_id, identity_id
from decnet_tui.cli import linking
from decnet_tui.cli.main import app
from tests.integration.test_linking_job import BY_NAME, events_of, expected, recorded

CASE = BY_NAME["key_trio"]
(TRIO,) = expected(CASE)
ONE, OTHER, THIRD = sorted(TRIO)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    asyncio.run(_fill(tmp_path))
    return tmp_path


async def _fill(folder: Path) -> None:
    repo = await BaseRepository.open(f"sqlite:///{folder / 'decnet.sqlite'}")
    try:
        await recorded(repo, events_of(CASE["lines"], folder))
        job = LinkJob(Settings())
        await job.run(repo)
        await job.leave(repo)
    finally:
        await repo.close()


def run(data: Path, *words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, [*words, "--data-dir", str(data)])
    assert done.exit_code == code, done.output
    return done.output


def said(data: Path, *words: str) -> Any:
    return json.loads(run(data, *words, "--json"))


def joined(data: Path) -> set[frozenset[str]]:
    return {frozenset(row["addresses"]) for row in said(data, "identities", "--joined")}


def test_a_cut_is_taken_over_at_once_shown_and_taken_back(data: Path) -> None:
    assert joined(data) == {TRIO}
    told = said(data, "identities", "unlink", ONE, OTHER, "--reason", "two hands")
    assert (told["one"], told["other"], told["same"], told["taken_over"]) == (ONE, OTHER, False, True)
    assert len(set(told["identities"])) == 2
    (found,) = joined(data)
    assert THIRD in found
    assert not {ONE, OTHER} <= found
    assert "two hands" in run(data, "identity", ONE)
    told = said(data, "identities", "unsay", ONE, OTHER)
    assert len(set(told["identities"])) == 1
    assert joined(data) == {TRIO}
    assert "nothing was said" in run(data, "identities", "unsay", ONE, OTHER, code=1)


def test_a_link_stands_above_missing_evidence_and_the_journal_has_it(data: Path) -> None:
    stranger = next(
        row["addresses"][0] for row in said(data, "identities") if row["state"] == "own" and row["addresses"]
    )
    told = said(data, "identities", "link", ONE, stranger, "--reason", "same ticket")
    assert told["identities"][0] == told["identities"][1]
    assert joined(data) == {TRIO | {stranger}}
    text = run(data, "identities", "link", ONE, stranger)
    assert "are one identity" in text
    lines = asyncio.run(_journal(data))
    assert [(row["kind"], row["outcome"]) for row in lines] == [("identity.link", "verified")] * 2
    assert lines[-1]["reason"] == "same ticket"
    assert lines[-1]["target"] == f"{ONE} {stranger}"


async def _journal(data: Path) -> list[Any]:
    repo = await BaseRepository.open(f"sqlite:///{data / 'decnet.sqlite'}")
    try:
        return list(await repo.journal())
    finally:
        await repo.close()


def test_everything_is_read_anew_by_the_command_itself_where_no_engine_runs(data: Path) -> None:
    before = said(data, "identities", "--joined")
    figures = said(data, "identities", "relink")
    assert figures["joined"] == 1
    assert figures["sessions"] > 10
    assert said(data, "identities", "--joined") == before
    assert "1 identity of several addresses" in run(data, "identities", "relink")


def test_a_word_that_nobody_takes_over_is_kept_and_that_is_said(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def elsewhere(self: LinkJob, repo: BaseRepository) -> bool:
        return False

    monkeypatch.setattr(LinkJob, "_holds", elsewhere)
    monkeypatch.setattr(linking, "PATIENCE_S", 0.3)
    assert "kept" in run(data, "identities", "unlink", ONE, OTHER)
    assert joined(data) == {TRIO}
    monkeypatch.undo()
    told = said(data, "identities", "unlink", ONE, OTHER)
    assert len(set(told["identities"])) == 2


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("link", ONE, ONE), "are one address"),
        (("link", ONE, "203.0.113.250"), "no identity"),
        (("unlink", "zz", ONE), "no identity"),
    ],
)
def test_what_cannot_be_said_is_refused_with_its_reason(
    data: Path, words: tuple[str, ...], reason: str
) -> None:
    assert reason in run(data, "identities", *words, code=1)


def test_with_linking_off_nothing_is_promised(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECNET_LINKING__ENABLED", "false")
    assert "linking is off" in run(data, "identities", "link", ONE, OTHER, code=1)
    assert "linking is off" in run(data, "identities", "relink", code=1)


def test_an_identity_may_be_named_by_its_id(data: Path) -> None:
    stranger = next(row for row in said(data, "identities") if row["state"] == "own")
    told = said(data, "identities", "link", f"i-{stranger['identity_uuid'][:8]}", ONE)
    assert told["one"] == stranger["addresses"][0]
    assert told["identities"][0] in {identity_id(attacker_id(one)) for one in TRIO | {told["one"]}}
