"""``samples`` and ``blocklist`` as one uses them: listed from both databases, packed so that nothing opens them, found by hash alone."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from decnet.db.repository import BaseRepository
from decnet.db.repository.lists import samples as module
from decnet.export import lockedzip
from decnet.export.lockedzip import PASSWORD, locked_zip
from decnet_tui.cli.main import app
from tests.dbkit import KINDS, migrated, open_repo
from tests.rowkit import put

ONE, TWO = hashlib.sha256(b"one").hexdigest(), hashlib.sha256(b"two").hexdigest()
EVIL = "\x1b]0;x\x07\u202e"


def at(day: int) -> datetime:
    return datetime(2026, 3, day, tzinfo=UTC)


def session(number: int, attacker: str, **more: Any) -> dict[str, Any]:
    return {
        "session_id": f"s{number}",
        "attacker_uuid": attacker,
        "started_at": at(number).timestamp(),
        "ended_at": at(number).timestamp(),
        **more,
    }


SESSIONS = [
    session(
        1,
        "a",
        downloads=[
            {"url": "http://h/x.sh", "sha256": ONE, "destfile": "/tmp/x.sh"},
            {"url": "http://h/none"},
            7,
        ],
    ),
    session(
        2,
        "b",
        downloads=[{"url": "http://i/y.sh", "sha256": ONE.upper()}],
        uploads=[{"filename": EVIL, "sha256": TWO}],
    ),
    session(3, "a", uploads=[{"filename": "kit", "sha256": ONE}, {"filename": "z", "sha256": "none"}]),
    session(4, "c", ignored_by="i1", downloads=[{"url": "http://own/", "sha256": TWO}]),
    session(5, "c", downloads=[]),
]


@pytest.mark.parametrize("kind", KINDS)
async def test_files_are_listed_by_hash_with_names_and_sources(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAGE", 2)
    async with open_repo(kind, tmp_path) as repo:
        await put(repo, "session", *SESSIONS)
        one, two = await repo.list_samples()
        assert one == {
            "sha256": ONE, "names": ["/tmp/x.sh", "kit"], "name_count": 2, "sources": ["http://h/x.sh", "http://i/y.sh"], "source_count": 2,
            "attackers": 2, "times": 3, "first_seen": at(1), "last_seen": at(3),
        }  # fmt: skip
        assert (two["sha256"], two["times"], two["sources"]) == (TWO, 1, [])
        assert [row["sha256"] for row in await repo.list_samples(limit=1)] == [ONE]
        assert (await repo.list_samples(ignored=True))[0]["sha256"] == TWO
        assert [row["times"] for row in await repo.list_samples(since=at(3))] == [1]


async def test_so_many_names_are_told_and_all_counted(tmp_path: Path) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        names = [{"filename": f"n{n:03d}", "sha256": ONE} for n in range(module.MAX_NAMED + 1)]
        await put(repo, "session", session(1, "a", uploads=names))
        (row,) = await repo.list_samples()
    assert (len(row["names"]), row["name_count"]) == (module.MAX_NAMED, module.MAX_NAMED + 1)


# --- the zip


@settings(max_examples=30)
@given(st.binary(max_size=300))
def test_what_is_packed_is_what_comes_out_and_only_with_the_password(content: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(locked_zip("ab" * 32, content))) as packed:
        (info,) = packed.infolist()
        assert (info.flag_bits & 1, info.compress_type, info.external_attr >> 16 & 0o111) == (
            1,
            zipfile.ZIP_STORED,
            0,
        )
        assert packed.read(info, pwd=PASSWORD.encode()) == content
        with pytest.raises(RuntimeError, match="password required"):
            packed.read(info)


def test_the_file_does_not_stand_in_the_zip_as_it_is() -> None:
    content = b"X5O!P%@AP" * 20
    assert content[:9] not in locked_zip("x", content)
    assert locked_zip("x", content) != locked_zip("x", content), "twelve bytes of chance come first"


@pytest.mark.parametrize("name", ["a/b", "a\\b", "c:d", "\u00e9", "a\nb", "../x"])
def test_a_name_with_a_path_in_it_is_none(name: str) -> None:
    with pytest.raises(ValueError, match="no plain name"):
        locked_zip(name, b"")


def test_so_large_and_no_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockedzip, "MAX_BYTES", 10)
    assert locked_zip("x", b"y" * 10)
    with pytest.raises(ValueError, match="more than 10 bytes"):
        locked_zip("x", b"y" * 11)


# --- the commands


def ran(*words: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(word) for word in words])
    return done.exit_code, done.output


@pytest.fixture
def honeypot(tmp_path: Path) -> Path:
    """Cowrie's own folders, with one file kept."""
    root = tmp_path / "cowrie"
    log, kept = root / "var" / "log" / "cowrie" / "cowrie.json", root / "var" / "lib" / "cowrie" / "downloads"
    log.parent.mkdir(parents=True)
    kept.mkdir(parents=True)
    log.touch()
    (kept / ONE).write_bytes(b"one")
    (tmp_path / "c.yaml").write_text(f"sensors: [{{kind: cowrie, path: {log}}}]\n", "utf-8")
    return kept


def test_a_file_that_the_honeypot_kept_is_packed(honeypot: Path, tmp_path: Path) -> None:
    target = tmp_path / "x.zip"
    code, said = ran("samples", "export", ONE.upper(), "-o", target, "--config", tmp_path / "c.yaml")
    assert code == 0, said
    assert "password infected" in said
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    with zipfile.ZipFile(target) as packed:
        assert packed.namelist() == [ONE]
        assert packed.read(ONE, pwd=b"infected") == b"one"
    assert (honeypot / ONE).read_bytes() == b"one"


def test_only_what_its_name_says_is_packed(honeypot: Path, tmp_path: Path) -> None:
    config, target = tmp_path / "c.yaml", tmp_path / "x.zip"
    (honeypot / TWO).write_bytes(b"something else")
    assert ran("samples", "export", TWO, "-o", target, "--config", config)[0] == 1
    (honeypot / TWO).unlink()
    (tmp_path / "secret").write_bytes(b"two")
    (honeypot / TWO).symlink_to(tmp_path / "secret")
    assert ran("samples", "export", TWO, "-o", target, "--config", config)[0] == 1, "a link is not followed"
    (honeypot / TWO).unlink()
    os.mkfifo(honeypot / TWO)
    assert ran("samples", "export", TWO, "-o", target, "--config", config)[0] == 1, "a pipe is not waited for"
    code, said = ran("samples", "export", "../../etc/passwd", "-o", target, "--config", config)
    assert (code, "HASH is a SHA-256" in said) == (2, True)
    assert not target.exists()
    (honeypot / TWO).unlink()
    (tmp_path / TWO).write_bytes(b"two")
    code, said = ran("samples", "export", TWO, "-o", target, "--config", config)
    assert (code, "not kept in 1 folders" in said) == (1, True)
    assert ran("samples", "export", TWO, "-o", target, "--config", config, "--from", tmp_path)[0] == 0


async def _filled(folder: Path) -> None:
    repo = await BaseRepository.open(await migrated(folder / "decnet.sqlite"))
    now = datetime.now(UTC).timestamp()
    try:
        await put(repo, "session", *SESSIONS[:3])
        for number, severity in enumerate(("high", "low")):
            who = {
                "attacker_uuid": f"a{number}",
                "ip": f"203.0.113.{number}",
                "first_seen": now,
                "last_seen": now,
            }
            await put(repo, "attacker", who)
            await put(
                repo,
                "session",
                {
                    "session_id": f"x{number}",
                    "attacker_uuid": f"a{number}",
                    "started_at": now,
                    "ended_at": now,
                },
            )
            await put(
                repo, "session_story",
                {"session_id": f"x{number}", "attacker_uuid": f"a{number}", "severity": severity, "rank": number, "reason": EVIL,
                 "line": EVIL, "seen_at": now, "ended_at": now, "lines": 1},
            )  # fmt: skip
    finally:
        await repo.close()


def test_the_lists_as_commands(tmp_path: Path) -> None:
    import asyncio

    asyncio.run(_filled(tmp_path))
    code, said = ran("samples", "list", "--data-dir", tmp_path)
    assert code == 0, said
    assert ONE in said
    assert "\x1b" not in said
    assert "\u202e" not in said
    assert [
        row["sha256"] for row in json.loads(ran("samples", "list", "--json", "--data-dir", tmp_path)[1])
    ] == [ONE, TWO]
    target = tmp_path / "block.txt"
    code, said = ran("blocklist", "-o", target, "--data-dir", tmp_path)
    assert (code, said.strip()) == (0, "1 address to block")
    assert target.read_text() == "203.0.113.0\n"
    ran("blocklist", "--severity", "low", "--format", "json", "-o", target, "--data-dir", tmp_path)
    assert [row["address"] for row in json.loads(target.read_text())] == ["203.0.113.0", "203.0.113.1"]
    assert ran("blocklist", "--ttl", "0s", "--data-dir", tmp_path)[0] == 2
