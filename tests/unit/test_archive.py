"""``backup`` and ``restore``: what is kept and what is not, that nothing half done stays, and archives that want to do harm."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import sqlite3
import stat
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from decnet.errors import ExportError
from decnet.export import archive
from decnet.export.archive import DATABASE, MANIFEST, restore, save


def data_dir(folder: Path) -> Path:
    """A data directory with something of each kind."""
    made = folder / "data"
    for name in ("secret.key", "fleet/logs/a.log", "intel/x.csv", "bus/store/js/1.blk", "bus/lock", "cache/rules", "connection.json",
                 "opencanary-env/bin/python", "decnet.sqlite-wal.other", "decnet.sqlite.0021.bak"):  # fmt: skip
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(name, "utf-8")
    with closing(sqlite3.connect(made / DATABASE)) as database, database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE sensor_checkpoint (sensor_key TEXT)")
        database.execute("CREATE TABLE kept (n INTEGER)")
        database.execute("INSERT INTO sensor_checkpoint VALUES ('x')")
        database.execute("INSERT INTO kept VALUES (7)")
    (made / "intel" / "link").symlink_to("/etc/passwd")
    return made


def rows(folder: Path, table: str) -> list[Any]:
    with closing(sqlite3.connect(folder / DATABASE)) as database:
        return database.execute(f"SELECT * FROM {table}").fetchall()


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


ALWAYS = {"secret.key", "fleet/logs/a.log", "intel/x.csv", DATABASE}


def test_of_a_stopped_engine_everything_comes_back(tmp_path: Path) -> None:
    made, file = data_dir(tmp_path), tmp_path / "b.tar.gz"
    saved = save(made, file, running=False)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    back = tmp_path / "elsewhere" / "data"
    assert restore(file, back) == saved
    assert names(back) == ALWAYS | {"bus/store/js/1.blk"}
    assert (rows(back, "kept"), rows(back, "sensor_checkpoint")) == ([(7,)], [("x",)])
    assert (back / "secret.key").read_text() == "secret.key"
    assert stat.S_IMODE(back.stat().st_mode) == 0o700
    assert {stat.S_IMODE((back / name).stat().st_mode) for name in names(back)} == {0o600}
    assert saved.whole


def test_of_a_running_engine_the_stream_is_left_out_and_sensors_read_again(tmp_path: Path) -> None:
    made, file, back = data_dir(tmp_path), tmp_path / "b.tar.gz", tmp_path / "back"
    with closing(sqlite3.connect(made / DATABASE, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO kept VALUES (8)")
        save(made, file, running=True)
        writer.execute("COMMIT")
    assert not restore(file, back).whole
    assert names(back) == ALWAYS
    assert (rows(back, "kept"), rows(back, "sensor_checkpoint")) == ([(7,)], []), "one moment of it"
    assert rows(made, "sensor_checkpoint") == [("x",)], "the engine's own is left alone"


def test_a_backup_into_the_directory_itself_does_not_hold_itself(tmp_path: Path) -> None:
    made = data_dir(tmp_path)
    for _ in range(2):
        save(made, made / "b.tar.gz", running=False)
    restore(made / "b.tar.gz", tmp_path / "back")
    assert "b.tar.gz" not in names(tmp_path / "back")
    assert not [path for path in made.iterdir() if path.name.startswith(".")], "no drafts"


def test_without_a_database_there_is_nothing_to_save(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="nothing to back up"):
        save(tmp_path, tmp_path / "b.tar.gz", running=False)


def test_a_backup_that_fails_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, file = data_dir(tmp_path), tmp_path / "b.tar.gz"
    save(made, file, running=False)
    before = file.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive.os, "fsync", full)
    with pytest.raises(ExportError, match="No space left"):
        save(made, file, running=False)
    assert file.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"data", "b.tar.gz"}


def test_a_log_that_shrinks_while_it_is_packed_spoils_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, file = data_dir(tmp_path), tmp_path / "b.tar.gz"
    original = archive._Hashed.read

    def read(self: Any, size: int = -1) -> bytes:
        (made / "fleet" / "logs" / "a.log").write_text("")
        return original(self, size)

    monkeypatch.setattr(archive._Hashed, "read", read)
    save(made, file, running=False)
    monkeypatch.undo()
    assert restore(file, tmp_path / "back").files == 5


def test_what_is_there_is_never_written_over(tmp_path: Path) -> None:
    made, file = data_dir(tmp_path), tmp_path / "b.tar.gz"
    save(made, file, running=False)
    before = names(made)
    with pytest.raises(ExportError, match="is not empty"):
        restore(file, made)
    assert names(made) == before
    (tmp_path / "empty").mkdir()
    restore(file, tmp_path / "empty")
    assert DATABASE in names(tmp_path / "empty")


# --- archives that nobody of ours wrote


def database_bytes(folder: Path) -> bytes:
    path = folder / "good.sqlite"
    with closing(sqlite3.connect(path)) as made, made:
        made.execute("CREATE TABLE IF NOT EXISTS t (n INTEGER)")
    return path.read_bytes()


def packed(path: Path, members: list[tuple[tarfile.TarInfo, bytes]], **more: Any) -> Path:
    listed = [
        {"name": info.name, "size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
        for info, body in members
        if info.isreg()
    ]
    manifest = json.dumps({"format": 1, "running": False, "files": listed, **more}).encode()
    with gzip.open(path, "wb") as file, tarfile.open(fileobj=file, mode="w|") as tar:
        for info, body in [*members, member(MANIFEST, manifest)]:
            tar.addfile(info, io.BytesIO(body))
    return path


def member(
    name: str, body: bytes = b"x", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(body) if kind == tarfile.REGTYPE else 0
    return info, body if kind == tarfile.REGTYPE else b""


EVIL = [
    member("../escaped"), member("/tmp/escaped"), member("a/../../escaped"), member("./a"), member("a//b"), member("."),
    member("link", kind=tarfile.SYMTYPE, link="/etc/passwd"), member("link", kind=tarfile.LNKTYPE, link="../../etc/passwd"),
    member("pipe", kind=tarfile.FIFOTYPE), member("device", kind=tarfile.CHRTYPE), member("folder", kind=tarfile.DIRTYPE),
]  # fmt: skip


def refused(file: Path, folder: Path, why: str) -> None:
    target = folder / "inner" / "back"
    with pytest.raises(ExportError, match=why):
        restore(file, target)
    assert not target.exists()
    assert not (folder / "escaped").exists()
    assert not (folder / "inner").exists() or list((folder / "inner").iterdir()) == [], "no drafts"


@pytest.mark.parametrize("evil", EVIL, ids=lambda one: f"{one[0].name}-{one[0].type!r}")
def test_a_member_that_no_backup_has_is_refused(tmp_path: Path, evil: tuple[tarfile.TarInfo, bytes]) -> None:
    file = packed(tmp_path / "b", [member(DATABASE, database_bytes(tmp_path)), evil])
    refused(file, tmp_path, "a member that no backup has")


def test_a_name_that_comes_twice_is_refused(tmp_path: Path) -> None:
    good = member(DATABASE, database_bytes(tmp_path))
    refused(packed(tmp_path / "b", [good, good]), tmp_path, "a member that no backup has")


def test_what_is_not_what_was_saved_is_refused(tmp_path: Path) -> None:
    good = member(DATABASE, database_bytes(tmp_path))
    entry = {"name": DATABASE, "size": len(good[1]), "sha256": hashlib.sha256(good[1]).hexdigest()}
    assert restore(packed(tmp_path / "good", [good]), tmp_path / "ok").files == 1
    for wrong in (
        [{**entry, "sha256": "0" * 64}],
        [{**entry, "size": 1}],
        [],
        [entry, {"name": "missing", "size": 1, "sha256": ""}],
        ["x"],
    ):
        refused(packed(tmp_path / "b", [good], files=wrong), tmp_path, "not what was saved")
    refused(packed(tmp_path / "b", [member("x")]), tmp_path, "no decnet.sqlite in it")
    refused(packed(tmp_path / "b", [good], format=2), tmp_path, "a backup of format 2; this version reads 1")
    refused(packed(tmp_path / "b", [good], files=7), tmp_path, "its manifest is none")
    damaged = good[1][:100] + b"\xff" * (len(good[1]) - 100)
    refused(
        packed(tmp_path / "b", [member(DATABASE, damaged)]), tmp_path, "damaged|malformed|cannot be restored"
    )
    refused(
        packed(tmp_path / "b", [member(DATABASE, b"no database at all" * 100)]), tmp_path, "not a database"
    )


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    whole = packed(tmp_path / "b", [member(DATABASE, database_bytes(tmp_path))]).read_bytes()
    for length in (0, 5, len(whole) // 2):
        (tmp_path / "cut").write_bytes(whole[:length])
        refused(tmp_path / "cut", tmp_path, "cannot be restored")
    (tmp_path / "text").write_text("hello")
    refused(tmp_path / "text", tmp_path, "cannot be restored")
    refused(tmp_path / "none", tmp_path, "No such file")


def test_so_many_files_and_a_manifest_so_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = member(DATABASE, database_bytes(tmp_path))
    monkeypatch.setattr(archive, "MAX_FILES", 2)
    assert restore(packed(tmp_path / "b", [good, member("a")]), tmp_path / "ok").files == 2
    refused(packed(tmp_path / "b", [good, member("a"), member("b")]), tmp_path, "more than 2 files")
    monkeypatch.setattr(archive, "MAX_MANIFEST", 50)
    refused(packed(tmp_path / "b", [good]), tmp_path, "its manifest is too large")
