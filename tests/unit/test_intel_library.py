"""The operator's files: found, named, taken over when they change, and kept when a new one is broken."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from decnet.config import IntelSettings
from decnet.intel import library as module
from decnet.intel.library import Library, Source
from decnet.intel.ranges import number_of
from tests.mmdbkit import EPOCH, mmdb


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "intel"
    made.mkdir()
    return made


def library(where: Path, **settings: Any) -> Library:
    made = Library(IntelSettings.model_validate(settings), where)
    made.refresh()
    return made


def put(path: Path, data: bytes) -> Path:
    """As update tools do it: another file in its place."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(data)
    os.replace(fresh, path)
    return path


def by_name(found: Library) -> dict[str, Source]:
    return {source.name: source for source in found.sources}


def on_list(source: Source, ip: str) -> bool:
    return source.content is not None and source.content.said_of(ip, number_of(ip)) is not None


def test_the_end_of_a_name_says_what_a_file_is(folder: Path) -> None:
    below = folder / "tor" / "exits"
    below.mkdir(parents=True)
    put(folder / "geo.mmdb", mmdb({"1.0.0.0/8": {"country": "NL"}}))
    put(folder / "asn.tsv.gz", gzip.compress(b"1.0.0.0\t1.0.0.255\t5\tUS\tx\n"))
    put(folder / "bad.CSV", b"network\n1.2.3.0/24\n")
    put(folder / "drop.netset", b"1.2.3.0/24\n")
    put(below / "list.json", b'{"name": "Tor exits", "list": ["1.2.3.4"]}')
    put(folder / "README.md", b"# what is here\n")
    put(folder / ".hidden.txt", b"1.1.1.1\n")
    found = library(folder)
    kinds = {
        source.name: (source.kind, source.content and source.content.entries) for source in found.sources
    }
    assert kinds == {
        "asn": ("iptoasn", 1), "bad": ("csv", 1), "drop": ("cidr", 1), "geo": ("mmdb", 104), "Tor exits": ("warninglist", 1),
    }  # fmt: skip
    assert found.passed_over == {
        str(folder / "README.md"): "its name does not say what it is: name it in intel.files with its kind"
    }
    assert (found.taken, found.refused, {source.state for source in found.sources}) == (5, 0, {"ok"})


def test_files_of_the_settings_come_first_with_the_names_and_kinds_given(
    folder: Path, tmp_path: Path
) -> None:
    put(folder / "a.txt", b"1.1.1.1\n")
    own = put(tmp_path / "scanners.dat", b"2.2.2.2\n")
    odd = put(tmp_path / "odd.dat", b"3.3.3.3\n")
    found = library(
        folder,
        files=[
            {"path": own, "kind": "cidr", "name": "scanners"},
            {"path": odd},
            {"path": folder / "a.txt", "name": "A"},
        ],
    )
    assert [(source.name, source.state, source.rank) for source in found.sources] == [
        ("scanners", "ok", 0), ("odd", "failed", 1), ("A", "ok", 2),
    ]  # fmt: skip
    assert found.sources[1].error == f"{odd}: its name does not say what it is: give its kind in intel.files"


def test_a_changed_file_is_taken_over_and_an_unchanged_one_is_not_read_again(folder: Path) -> None:
    put(folder / "a.txt", b"1.1.1.1\n")
    put(folder / "b.txt", b"5.5.5.5\n")
    found = library(folder)
    assert (found.refresh(), found.taken) == ([], 2)
    put(folder / "a.txt", b"2.2.2.2\n")
    assert [source.name for source in found.refresh()] == ["a"]
    a = by_name(found)["a"]
    assert (on_list(a, "1.1.1.1"), on_list(a, "2.2.2.2"), found.taken) == (False, True, 3)
    put(folder / "c.txt", b"3.3.3.3\n")
    assert [source.name for source in found.refresh()] == ["c"]


def test_a_file_with_its_time_and_size_kept_is_seen_to_be_another(folder: Path) -> None:
    path = put(folder / "a.txt", b"1.1.1.1\n")
    found = library(folder)
    times = path.stat()
    path.write_bytes(b"2.2.2.2\n")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    found.refresh()
    assert on_list(by_name(found)["a"], "2.2.2.2")


@pytest.mark.parametrize(
    ("name", "good", "broken", "place"),
    [
        ("a.txt", b"1.1.1.1\n", b"1.1.1.1\nx\ny\n", "a.txt:2: no address: x"),
        ("a.txt", b"1.1.1.1\n", b"", "a.txt: empty"),
        ("a.json", b'{"list": ["1.1.1.1"]}', b'{"list":\n ["1.1.1.1", }', "a.json:2: no warninglist"),
        (
            "a.json",
            b'{"list": ["1.1.1.1"]}',
            b'{"list": ["a"], "type": "hostname"}',
            "a.json: entries of type hostname",
        ),
        ("a.mmdb", mmdb({"1.0.0.0/8": {"country": "NL"}}), b"half a download", "a.mmdb: no mmdb"),
        (
            "a.tsv.gz",
            gzip.compress(b"1.0.0.0\t1.1.1.1\t5\tUS\tx\n", mtime=0),
            b"<html>",
            "a.tsv.gz: broken gzip",
        ),
    ],
)
def test_a_broken_new_file_leaves_the_old_one_in_force_and_is_named(
    folder: Path, name: str, good: bytes, broken: bytes, place: str
) -> None:
    put(folder / name, good)
    found = library(folder)
    dated = found.sources[0].dated
    put(folder / name, broken)
    assert [source.name for source in found.refresh()] == ["a"]
    source = found.sources[0]
    assert (source.state, on_list(source, "1.1.1.1"), found.refused, found.taken) == ("old", True, 1, 1)
    assert place in source.error
    assert source.dated == dated, "the age is that of what answers"
    assert (found.refresh(), found.refused) == ([], 1), "it is tried and counted once"
    put(folder / name, good)
    found.refresh()
    assert (source.state, source.error, found.taken) == ("ok", "", 2)


def test_each_broken_file_counts(folder: Path) -> None:
    put(folder / "a.txt", b"1.1.1.1\n")
    found = library(folder)
    for times in (1, 2, 3):
        put(folder / "a.txt", b"x\n")
        found.refresh()
        assert (found.refused, found.sources[0].state) == (times, "old")


def test_what_is_gone_answers_no_more(folder: Path, tmp_path: Path) -> None:
    put(folder / "a.txt", b"1.1.1.1\n")
    named = put(tmp_path / "b.txt", b"2.2.2.2\n")
    found = library(folder, files=[{"path": named}])
    (folder / "a.txt").unlink()
    named.unlink()
    assert {source.name for source in found.refresh()} == {"a", "b"}
    assert [(s.name, s.state, s.error, s.dated) for s in found.sources] == [
        ("b", "failed", f"{named}: no such file", None)
    ]
    assert found.refresh() == []
    put(named, b"2.2.2.2\n")
    found.refresh()
    assert found.sources[0].state == "ok"


def test_a_name_that_is_no_text_can_be_stored(folder: Path) -> None:
    put(folder / os.fsdecode(b"tor\xff.txt"), b"1.1.1.1\n")
    assert [source.name for source in library(folder).sources] == ["tor\ufffd"]


def test_a_name_of_the_settings_is_short_and_says_something() -> None:
    for name, right in (("x", True), ("x" * 60, True), ("x" * 61, False), ("", False)):
        try:
            taken = (
                IntelSettings.model_validate({"files": [{"path": "a", "name": name}]}).files[0].name == name
            )
        except ValidationError:
            taken = False
        assert taken == right, name


def test_a_list_of_host_names_is_unused_and_no_fault(folder: Path) -> None:
    put(folder / "list.json", b'{"name": "Top sites", "type": "hostname", "list": ["example.org"]}')
    found = library(folder)
    source = found.sources[0]
    assert (source.state, source.content, found.refused, found.refresh()) == ("unused", None, 0, [])
    assert "entries of type hostname, which are no addresses: 1" in source.error


def test_a_file_that_becomes_readable_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(folder / "a.txt", b"1.1.1.1\n")
    real = os.open

    def locked(what: Any, *more: Any, **extra: Any) -> int:
        if Path(what) == path:
            raise PermissionError(13, "Permission denied")
        return real(what, *more, **extra)

    with monkeypatch.context() as patched:
        patched.setattr(module.os, "open", locked)
        found = library(folder)
    assert (found.sources[0].state, found.sources[0].error) == (
        "failed",
        f"{path}: cannot be read: Permission denied",
    )
    path.chmod(0o600)
    found.refresh()
    assert found.sources[0].state == "ok"


def test_all_tables_together_keep_within_the_bound_and_room_that_comes_free_is_used(folder: Path) -> None:
    put(folder / "a.txt", b"1.1.1.1\n1.1.1.3\n")
    put(folder / "b.txt", b"2.2.2.2\n2.2.2.4\n")
    assert {source.state for source in library(folder, max_entries=4).sources} == {"ok"}
    found = library(folder, max_entries=3)
    a, b = found.sources
    assert (a.state, b.state, b.error) == (
        "ok",
        "failed",
        f"{folder / 'b.txt'}:2: over 1 ranges (intel.max_entries)",
    )
    put(folder / "a.txt", b"1.1.1.1\n")
    assert found.refresh() == [a, b]
    assert (a.state, b.state) == ("ok", "ok")


def test_files_beyond_the_bound_are_named(folder: Path) -> None:
    for n in range(3):
        put(folder / f"{n}.txt", b"1.1.1.1\n")
    assert library(folder, max_files=3).passed_over == {}
    found = library(folder, max_files=2)
    assert [source.name for source in found.sources] == ["0", "1"]
    assert found.passed_over == {str(folder): "over 2 files (intel.max_files): the rest is not read"}


def test_folders_are_looked_into_to_a_depth(folder: Path) -> None:
    below = folder.joinpath(*"abcd")
    (below / "e").mkdir(parents=True)
    put(below / "in.txt", b"1.1.1.1\n")
    put(below / "e" / "out.txt", b"1.1.1.1\n")
    found = library(folder)
    assert [source.name for source in found.sources] == ["in"]
    assert found.passed_over == {str(below / "e"): "too deep in folders"}


def test_a_folder_that_is_not_there_is_told_of_if_it_was_asked_for(folder: Path, tmp_path: Path) -> None:
    none = tmp_path / "none"
    assert library(none).passed_over == {}
    assert library(none, folder=none).passed_over == {str(none): "no folder"}
    file = put(tmp_path / "file", b"x")
    assert library(file).passed_over == {str(file): "no folder"}


def test_the_date_is_that_of_the_data_if_the_file_tells_it(folder: Path) -> None:
    geo = put(folder / "geo.mmdb", mmdb({"1.0.0.0/8": {"country": "NL"}}))
    plain = put(folder / "a.txt", b"1.1.1.1\n")
    for path in (geo, plain):
        os.utime(path, (1000, 2000))
    dates = {source.name: source.dated for source in library(folder).sources}
    assert dates == {"geo": float(EPOCH), "a": 2000.0}
