"""A file more in the picture of Cowrie's file system; a picture that wants to run something is refused."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from decnet.decoys.canary.cowriefs import MAX_PATH, MAX_PICTURE, parts_of, with_file
from decnet.decoys.canary.placing import put_file, put_in_cowrie
from decnet.errors import CanaryError


def entry(name: str, kind: int, contents: Any = None, mode: int = 0o40755) -> list[Any]:
    return [name, kind, 0, 0, 4096, mode, 1700000000.0, contents, None, None]


def picture() -> list[Any]:
    return entry("/", 1, [
        entry("etc", 1, [entry("passwd", 2, b"root")]),
        entry("srv", 1, []),
        entry("link", 0, None),
        entry("null", 4, None),
    ])  # fmt: skip


def made(path: str, content: bytes = b"secret") -> list[Any]:
    found: list[Any] = pickle.loads(with_file(pickle.dumps(picture()), path, content))
    return found


def at(root: list[Any], path: str) -> list[Any]:
    for name in path.strip("/").split("/"):
        (root,) = [one for one in root[7] if one[0] == name]
    return root


def test_a_file_stands_where_it_shall_and_directories_are_made() -> None:
    root = made("/srv/share/it/pass.html")
    assert at(root, "/srv/share/it/pass.html") == [
        "pass.html", 2, 0, 0, 6, 0o100644, 1700000000.0, b"secret", None, None,
    ]  # fmt: skip
    assert at(root, "/srv/share")[:7] == ["share", 1, 0, 0, 4096, 0o40755, 1700000000.0]
    assert at(root, "/etc/passwd")[7] == b"root", "the rest is as it was"


def test_a_file_that_is_there_is_replaced() -> None:
    root = made("/etc/passwd")
    assert at(root, "/etc/passwd")[7] == b"secret"
    assert len(at(root, "/etc")[7]) == 1


@pytest.mark.parametrize("path", ["/etc/passwd/x", "/link/x", "/null/x", "/srv", "/link", "/etc"])
def test_what_is_no_place_for_a_file_is_refused(path: str) -> None:
    with pytest.raises(CanaryError, match=r"no directory|something else"):
        made(path)


@pytest.mark.parametrize(
    "path", ["", "/", "srv/x", "//srv/x", "/srv/../x", "/srv/./x", "/srv//x", "/srv/x/", "/a\0b", "/a\nb", "/a\u202eb"]
)  # fmt: skip
def test_a_path_is_absolute_and_plain(path: str) -> None:
    with pytest.raises(CanaryError):
        parts_of(path)


def test_a_path_at_its_longest() -> None:
    assert parts_of("/" + "a" * (MAX_PATH - 1))
    with pytest.raises(CanaryError):
        parts_of("/" + "a" * MAX_PATH)


class Evil:
    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> Any:
        return self.call, self.arguments


@pytest.mark.parametrize(
    "evil", [Evil(os.system, "touch pwned"), Evil(eval, "1"), Evil(list), Evil(pickle.loads, b"N.")]
)
def test_every_class_and_function_in_a_picture_is_refused(
    evil: Evil, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    root = picture()
    root[7].append(evil)
    with pytest.raises(CanaryError, match="it names"):
        with_file(pickle.dumps(root), "/srv/x", b"")
    assert list(tmp_path.iterdir()) == []


def test_what_points_outside_is_refused() -> None:
    with pytest.raises(CanaryError, match="points outside"):
        with_file(b"Pfile\n.", "/srv/x", b"")


@pytest.mark.parametrize(
    "raw",
    [b"", b"x", pickle.dumps(None), pickle.dumps([]), pickle.dumps(["/", 1, 2]), pickle.dumps(entry("/", 2, b"")),
     pickle.dumps(entry("/", 1, None)), pickle.dumps(entry("/", 1, [1])), pickle.dumps(entry("/", 1, [entry(7, 1)]))],  # type: ignore[arg-type]
)  # fmt: skip
def test_what_is_no_picture_is_refused(raw: bytes) -> None:
    with pytest.raises(CanaryError):
        with_file(raw, "/srv/x", b"")


def test_a_picture_at_its_largest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert MAX_PICTURE == 64 * 2**20
    raw = pickle.dumps(picture())
    monkeypatch.setattr("decnet.decoys.canary.cowriefs.MAX_PICTURE", len(raw))
    with_file(raw, "/srv/x", b"")
    monkeypatch.setattr("decnet.decoys.canary.cowriefs.MAX_PICTURE", len(raw) - 1)
    with pytest.raises(CanaryError, match="too large"):
        with_file(raw, "/srv/x", b"")
    (tmp_path / "fs.pickle").write_bytes(raw)
    monkeypatch.setattr("decnet.decoys.canary.placing.MAX_PICTURE", len(raw) - 1)
    with pytest.raises(CanaryError, match="too large"):
        put_in_cowrie(tmp_path / "fs.pickle", tmp_path / "new", "/srv/x", b"")


def test_the_picture_of_a_cowrie_stays_readable_for_it_and_older_ones_get_the_file(tmp_path: Path) -> None:
    old, new, contents = tmp_path / "fs.pickle", tmp_path / "new.pickle", tmp_path / "honeyfs"
    old.write_bytes(pickle.dumps(picture()))
    old.chmod(0o640)
    put_in_cowrie(old, new, "/srv/x", b"bait", contents)
    assert (new.stat().st_mode & 0o777, (contents / "srv/x").read_bytes()) == (0o640, b"bait")
    assert pickle.loads(old.read_bytes()) == picture()
    put_in_cowrie(old, old, "/srv/y", b"bait")
    assert at(pickle.loads(old.read_bytes()), "/srv/y")[7] == b"bait"
    assert {path.name for path in tmp_path.iterdir()} == {"fs.pickle", "new.pickle", "honeyfs"}, "no scratch"


def test_a_file_that_is_there_already_is_not_touched(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "a"
    put_file(place, b"one")
    assert (place.read_bytes(), place.stat().st_mode & 0o777) == (b"one", 0o644)
    with pytest.raises(CanaryError, match="there already"):
        put_file(place, b"two")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(CanaryError, match="there already"):
        put_file(tmp_path / "dangling", b"two")
    with pytest.raises(CanaryError, match="cannot be written"):
        put_file(place / "b", b"x")
    with pytest.raises(CanaryError, match="cannot be read"):
        put_in_cowrie(tmp_path / "no", tmp_path / "new", "/srv/x", b"")
