"""A list of tags that is empty says why, and what to do next."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from decnet.db.repository import BaseRepository
from decnet_tui.cli.emptiness import NOTHING, no_tags
from decnet_tui.cli.main import app
from tests.dbkit import migrated


def words(sessions: int = 2, unjudged: int = 0, tags: int = 0, status: str = "ok", **beat: Any) -> str:
    return no_tags(
        {"sessions": sessions, "unjudged": unjudged, "tags": tags}, {"rules_loaded": 9, **beat}, status
    )


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (words(sessions=0), NOTHING),
        (words(tags=1), "1 tag, all of ignored sources"),
        (words(rules_loaded=0), "2 sessions and no tag: no rules are loaded"),
        (words(unjudged=2, rules_loaded=0), "no rules are loaded"),
        (words(status="waiting_for_rules", rules_loaded=0), "the rules are still loading"),
        (words(unjudged=2), "2 still to be judged"),
        (words(unjudged=2, status="stopped"), "2 not judged yet, and no ttp worker runs"),
        (words(unjudged=2, status="stale", rules_loaded=0), "2 not judged yet, and no ttp worker runs"),
        (words(1), "1 session and no tag: all were judged and no rule fired"),
    ],
)
def test_each_cause_has_its_words(said: str, why: str) -> None:
    assert why in said
    assert "\n" not in said


def asked(data_dir: Path, *arguments: str) -> str:
    done = CliRunner().invoke(app, ["tags", *arguments, "--data-dir", str(data_dir)])
    assert done.exit_code == 0, done.output
    return done.stdout.strip()


def test_tags_of_a_database_with_sessions_and_no_tag_say_so(tmp_path: Path) -> None:
    async def fill() -> None:
        repo = await BaseRepository.open(await migrated(tmp_path / "decnet.sqlite"))
        await repo.upsert_session(
            {"session_id": "s", "attacker_uuid": "a", "attacker_ip": "192.0.2.1", "started_at": 1.0}
        )
        await repo.close()

    asyncio.run(fill())
    said = "1 session and no tag: 1 not judged yet, and no ttp worker runs: start `decnet-tui --headless`"
    assert asked(tmp_path) == said
    assert asked(tmp_path, "--since", "1h", "--attacker", "192.0.2.1") == said, "a filter is not the reason"
    assert json.loads(asked(tmp_path, "--json")) == []


def test_tags_of_an_empty_database_say_so(tmp_path: Path) -> None:
    asyncio.run(migrated(tmp_path / "decnet.sqlite"))  # type: ignore[arg-type]
    assert asked(tmp_path) == NOTHING
