"""Places for a screen: read in the background, taken over when files change, remembered within a bound."""

from __future__ import annotations

from pathlib import Path

import pytest

from decnet.config import Settings
from decnet_tui.model.whereabouts import Whereabouts

A, B, C = "45.9.148.2", "45.9.148.3", "185.220.101.4"
AS = b"45.9.148.0\t45.9.148.255\t49981\tNL\tWORLDSTREAM\n185.220.101.0\t185.220.101.255\t149981\tDE\tTOR\n"


async def test_files_of_places_are_read_in_the_background_and_taken_over_when_they_change(
    tmp_path: Path,
) -> None:
    (tmp_path / "intel").mkdir()
    now = [1.0]
    where = Whereabouts(Settings(data_dir=tmp_path), clock=lambda: now[0], kept=2)
    assert where.of(A)["country"] is None
    await where.read()
    first = where.version
    assert (first, where.of(A)["asn"]) == (1, None)
    (tmp_path / "intel" / "asn.tsv").write_bytes(AS)
    await where.read()
    assert (where.version, where.of(A)["asn"]) == (1, None), "none too soon"
    now[0] += 60.0
    await where.read()
    assert (where.version, where.of(A)["asn"], where.of(C)["country"]) == (2, 49981, "DE")
    assert where.told(A)["as_source"] == "asn"
    for address in (A, B, C, "no address"):
        where.of(address)
    assert list(where._known) == [C, "no address"], "what was asked for longest ago is forgotten"
    assert where.told("no address") == {}


async def test_what_keeps_files_from_being_read_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1.0]
    where = Whereabouts(Settings(data_dir=tmp_path), clock=lambda: now[0])

    def broken() -> bool:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(where, "_look", broken)
        await where.read()
    assert (where.problem, where.of(A)["country"]) == ("disk full", None)
    now[0] += 60.0
    await where.read()
    assert (where.problem, where.version) == ("", 1)


async def test_without_settings_nothing_is_read_or_known() -> None:
    where = Whereabouts(None)
    where.begin()
    await where.read()
    assert (where.places, where.of(A)["country"], where.told(A)) == (None, None, {})
