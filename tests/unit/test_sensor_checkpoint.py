"""Checkpoint files: whole or not at all, nobody else's to read, and never another sensor's."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from decnet.config import SensorSpec
from decnet.errors import DatabaseError, SensorError
from decnet.sensors.files.checkpoint import FileStore, RepoStore, pack, sensor_key, unpack

KEY = "cowrie=/var/log/cowrie.json"


def only(folder: Path) -> Path:
    """The one file of a folder."""
    (found,) = folder.iterdir()
    return found


async def test_what_was_saved_is_loaded_and_other_keys_are_others(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "s")
    assert await store.load(KEY) is None
    await store.save(KEY, {"a": 1})
    await store.save(KEY, {"a": 2})
    await store.save(KEY + "x", {"a": 3})
    assert (await store.load(KEY), await store.load(KEY + "x"), await store.load("y")) == (
        {"a": 2},
        {"a": 3},
        None,
    )
    assert len(list((tmp_path / "s").iterdir())) == 2, "no draft is left"


async def test_nobody_else_can_read_a_checkpoint(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        await FileStore(tmp_path / "s").save(KEY, {"a": 1})
    finally:
        os.umask(before)
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o700
    assert only(tmp_path / "s").stat().st_mode & 0o777 == 0o600


async def test_a_checkpoint_takes_the_old_ones_place_only_when_it_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, journal = FileStore(tmp_path), list[str]()
    await store.save(KEY, {"a": 1})
    true_sync, true_replace = os.fsync, Path.replace

    def sync(handle: int) -> None:
        written = os.read(os.open(f"/proc/self/fd/{handle}", os.O_RDONLY), 100)
        journal.append(f"synced {written.decode()}")
        true_sync(handle)

    def replace(self: Path, target: Path) -> Path:
        journal.append("replaced")
        assert json.loads(target.read_bytes()) == {"a": 1}, "until then the old one stands"
        return true_replace(self, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", replace)
    await store.save(KEY, {"a": 2})
    assert journal == ['synced {"a": 2}', "replaced"]
    assert json.loads(only(tmp_path).read_bytes()) == {"a": 2}


async def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FileStore(tmp_path)
    await store.save(KEY, {"a": 1})

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(SensorError, match="checkpoint not written: No space left on device"):
            await store.save(KEY, {"a": 2})
    assert await store.load(KEY) == {"a": 1}
    await store.save(KEY, {"a": 3})
    assert await store.load(KEY) == {"a": 3}


async def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SensorError, match="checkpoint not written"):
        await FileStore(tmp_path / "file" / "s").save(KEY, {})


@pytest.mark.parametrize("content", [b"", b'{"v": 1', b"\xff\xfe", b"no json"])
async def test_a_torn_checkpoint_is_an_error_and_not_a_new_start(tmp_path: Path, content: bytes) -> None:
    store = FileStore(tmp_path)
    await store.save(KEY, {"a": 1})
    only(tmp_path).write_bytes(content)
    with pytest.raises(SensorError, match="not a readable checkpoint"):
        await store.load(KEY)


async def test_a_checkpoint_that_may_not_be_read_is_an_error(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    await store.save(KEY, {"a": 1})
    path = only(tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(SensorError, match="not a readable checkpoint"):
        await store.load(KEY)


async def test_in_the_database_it_is_kept_under_the_same_key() -> None:
    class Repo:
        states: dict[str, dict[str, Any]] = {}  # noqa: RUF012

        async def checkpoint_load(self, sensor_key: str) -> dict[str, Any] | None:
            if sensor_key == "locked":
                raise DatabaseError("locked")
            return self.states.get(sensor_key)

        async def checkpoint_save(self, sensor_key: str, state: dict[str, Any]) -> None:
            self.states[sensor_key] = state

    store = RepoStore(Repo())
    assert await store.load(KEY) is None
    await store.save(KEY, {"a": 1})
    assert (await store.load(KEY), Repo.states) == ({"a": 1}, {KEY: {"a": 1}})
    with pytest.raises(DatabaseError):
        await store.load("locked")


def test_the_key_is_the_kind_and_the_place_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)

    def key(kind: str = "cowrie", path: str = "a.json", **more: str) -> str:
        return sensor_key(SensorSpec(kind=kind, path=Path(path), **more))  # type: ignore[arg-type]

    assert key() == key(path=str(tmp_path / "a.json")) == key(path="x/../a.json") == key(start="end")
    assert len({key(), key(kind="jsonl"), key(path="b.json")}) == 3


def test_both_halves_come_back() -> None:
    files, source = {"files": [{"path": "x"}], "path": "p"}, {"lines": 5, "text": "\u00e9\ud800"}
    packed = json.loads(json.dumps(pack(files, source)))
    assert packed["files"] == files["files"]
    assert "lines" not in json.dumps(packed["files"])
    assert unpack(packed) == (packed, source)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_a_checkpoint_of_another_version_is_refused(version: object) -> None:
    with pytest.raises(SensorError, match="checkpoint of version"):
        unpack({**pack({}, {}), "v": version})
