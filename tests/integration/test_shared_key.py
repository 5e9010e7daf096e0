"""Captured secrets of several hosts: seen to be the same where the hosts share a key, and only there; ``doctor`` says so."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from decnet.config import Settings
from decnet.db.repository import BaseRepository
from decnet.engine import Engine
from decnet.keyed import KEY_BYTES, KEY_FILE, key_id, keyed_hash
from decnet_tui.cli.main import app

SHARED = b"s" * KEY_BYTES
PASSWORD = "hunter2-of-two-hosts"


def line(event: str, sensor: str, address: str, second: int, **more: Any) -> str:
    head = {"eventid": f"cowrie.{event}", "session": f"{sensor}{address[-1]}", "sensor": sensor, "src_ip": address,
            "timestamp": f"2026-03-01T10:00:{second:02d}.000000Z", "message": ""}  # fmt: skip
    return json.dumps({**head, **more})


def log_of(path: Path, sensor: str, address: str, password: str = PASSWORD) -> Path:
    made = [
        line(
            "session.connect",
            sensor,
            address,
            1,
            protocol="ssh",
            src_port=4000,
            dst_port=22,
            dst_ip="198.51.100.2",
        ),
        line("login.failed", sensor, address, 2, username="root", password=password),
        line("session.closed", sensor, address, 3, duration="2.0"),
    ]
    path.write_text("\n".join(made) + "\n", "utf-8")
    return path


async def read(
    folder: Path, name: str, db: str, key_file: Path | None, address: str, password: str = PASSWORD
) -> None:
    """One host with a data directory of its own, which writes into the database of all."""
    engine = Engine(
        Settings(
            data_dir=folder / name, db=db, bus_type="memory", ttp_rule_store_type="filesystem", workers=("sensors", "recorder", "ttp"),
            sensors=[{"kind": "cowrie", "path": log_of(folder / f"{name}.json", name, address, password)}],
            credentials={"key_file": key_file},
        )
    )  # fmt: skip
    with capture_logs():
        await engine.start()
        try:
            assert await engine.until_idle(0.2) is None
        finally:
            await engine.stop()


async def rows(db: str) -> list[Any]:
    repo = await BaseRepository.open(db)
    try:
        return await repo.list_credentials(limit=0)
    finally:
        await repo.close()


@pytest.mark.parametrize("shared", [True, False])
async def test_reuse_across_hosts_is_seen_under_one_key_only(tmp_path: Path, shared: bool) -> None:
    key = tmp_path / "shared.key"
    key.write_bytes(SHARED)
    key.chmod(0o600)
    db = f"sqlite:///{tmp_path / 'all.sqlite'}"
    for name in ("east", "west"):
        await read(tmp_path, name, db, key if shared else None, "203.0.113.7")
    found = await rows(db)
    assert len(found) == 2
    ids, hashes = {row["key_id"] for row in found}, {row["secret_hmac"] for row in found}
    assert (len(ids), len(hashes)) == ((1, 1) if shared else (2, 2))
    repo = await BaseRepository.open(db)
    try:
        reused = await repo.reused_credentials([found[0]["attacker_uuid"]], 0.0)
        assert await repo.credential_keys() == dict.fromkeys(ids, 2 if shared else 1)
    finally:
        await repo.close()
    assert [row["target_count"] for row in reused] == ([2] if shared else [])
    if shared:
        assert ids == {key_id(SHARED)}
        assert hashes == {keyed_hash(SHARED, "password", PASSWORD)}
        assert not (tmp_path / "east" / KEY_FILE).exists()


async def test_a_changed_key_changes_no_row_and_doctor_says_what_it_means(tmp_path: Path) -> None:
    db = f"sqlite:///{tmp_path / 'all.sqlite'}"
    await read(tmp_path, "east", db, None, "203.0.113.7")
    (before,) = await rows(db)
    own = key_id((tmp_path / "east" / KEY_FILE).read_bytes())
    assert before["key_id"] == own
    said = await checked(tmp_path / "east", db)
    assert (said["result"], said["detail"]) == ("ok", f"key {own}, 1 log-in hashed")
    key = tmp_path / "shared.key"
    key.write_bytes(SHARED)
    key.chmod(0o600)
    await read(tmp_path, "west", db, key, "203.0.113.8")
    after = {row["key_id"]: row for row in await rows(db)}
    assert after.keys() == {own, key_id(SHARED)}
    assert after[own] == before, "nothing is hashed anew"
    said = await checked(tmp_path / "east", db)
    assert said["result"] == "WARN"
    assert said["detail"].startswith(
        f"log-ins by other keys than {own}: {key_id(SHARED)} 1; secrets are compared within one key only"
    )
    config = tmp_path / "c.yaml"
    config.write_text(f"credentials: {{key_file: {key}}}\n", "utf-8")
    assert (
        f"other keys than {key_id(SHARED)}: {own} 1"
        in (await checked(tmp_path / "east", db, "--config", str(config)))["detail"]
    )
    key.chmod(0o644)
    assert "chmod 600" in (await checked(tmp_path / "east", db, "--config", str(config)))["detail"]
    key.unlink()
    said = await checked(tmp_path / "east", db, "--config", str(config))
    assert (said["result"], "No such file" in said["detail"]) == ("FAIL", True)


async def checked(data_dir: Path, db: str, *more: str) -> dict[str, str]:
    words = ["doctor", "--json", "--data-dir", str(data_dir), "--db", db, *more]
    done = await asyncio.to_thread(CliRunner().invoke, app, words)  # it has a loop of its own
    (found,) = [row for row in json.loads(done.stdout) if row["check"] == "secrets"]
    return dict(found)


async def test_default_pairs_are_told_under_a_shared_key(tmp_path: Path) -> None:
    key = tmp_path / "shared.key"
    key.write_bytes(SHARED)
    db = f"sqlite:///{tmp_path / 'all.sqlite'}"
    await read(tmp_path, "east", db, key, "203.0.113.7", "root")
    repo = await BaseRepository.open(db)
    try:
        tags = await repo.list_tags(limit=0)
    finally:
        await repo.close()
    assert any(tag["sub_technique_id"] == "T1078.001" or tag["technique_id"] == "T1078" for tag in tags), [
        t["rule_id"] for t in tags
    ]
