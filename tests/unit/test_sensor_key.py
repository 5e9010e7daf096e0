"""The key that captured secrets are hashed with: made once, whole, and for nobody else's eyes."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from decnet import keyed
from decnet.errors import SensorError
from decnet.keyed import KEY_BYTES, KEY_FILE, key_id, keyed_hash, load_key


def test_the_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        key = load_key(tmp_path / "data")
    finally:
        os.umask(before)
    assert len(key) == KEY_BYTES == 32
    assert load_key(tmp_path / "data") == key
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "data" / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "data").iterdir()] == [KEY_FILE], "no draft is left"
    assert load_key(tmp_path / "other") != key


def test_of_two_processes_that_make_a_key_the_first_ones_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_link, first = os.link, b"1" * KEY_BYTES

    def late(source: Path, target: Path) -> None:
        target.write_bytes(first)  # the other process is quicker
        true_link(source, target)

    monkeypatch.setattr(os, "link", late)
    assert load_key(tmp_path) == first
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]


def test_a_key_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SensorError, match="No space left on device"):
        load_key(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("length", "good"), [(31, False), (32, True), (33, True)])
def test_a_key_that_is_too_short_is_none(tmp_path: Path, length: int, good: bool) -> None:
    (tmp_path / KEY_FILE).write_bytes(b"k" * length)
    if good:
        assert load_key(tmp_path) == b"k" * length
        return
    with pytest.raises(SensorError, match="shorter than 32 bytes"):
        load_key(tmp_path)


def test_a_key_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).mkdir()
    with pytest.raises(SensorError, match=KEY_FILE):
        load_key(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(SensorError, match="file"):
        load_key(tmp_path / "file" / "data")


def test_a_hash_tells_equal_secrets_and_nothing_else() -> None:
    one = keyed_hash(b"k" * 32, "password", "x")
    assert one == keyed.keyed_hash(b"k" * 32, "password", "x")
    others = [
        keyed_hash(b"l" * 32, "password", "x"),
        keyed_hash(b"k" * 32, "publickey", "x"),
        keyed_hash(b"k" * 32, "password", "y"),
    ]
    assert len({one, *others}) == 4
    assert all(len(text) == 64 for text in [one, *others])
    assert keyed_hash(b"k" * 32, "password", "\ud800") == keyed_hash(b"k" * 32, "password", "?")


def test_a_shared_key_is_read_and_never_made(tmp_path: Path) -> None:
    shared = tmp_path / "shared.key"
    with pytest.raises(SensorError, match="No such file"):
        load_key(tmp_path / "data", shared)
    assert not shared.exists()
    shared.write_bytes(b"s" * (KEY_BYTES - 1))
    with pytest.raises(SensorError, match="shorter than 32 bytes; make one"):
        load_key(tmp_path / "data", shared)
    shared.write_bytes(b"s" * KEY_BYTES)
    assert load_key(tmp_path / "data", shared) == b"s" * KEY_BYTES
    assert not (tmp_path / "data").exists(), "and no other one is"


def test_a_key_has_an_id_that_says_nothing_of_it() -> None:
    one, other = key_id(b"k" * KEY_BYTES), key_id(b"l" * KEY_BYTES)
    assert one == key_id(b"k" * KEY_BYTES) != other
    assert re.fullmatch(r"[0-9a-f]{12}", one)
    assert one not in keyed_hash(b"k" * KEY_BYTES, "password", "x")
