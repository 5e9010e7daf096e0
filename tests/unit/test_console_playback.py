"""Playback: times, pauses, jumps, and recordings that want to break the terminal or the program."""

from __future__ import annotations

import re
import struct
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decnet.home import packaged_demo_dir
from decnet_tui.playback import LONGEST_PAUSE_S, MAX_OUTPUT, Player, frames_of, screen_size

HEADER = struct.Struct("<iLiiLL")


def recording(*outputs: tuple[float, bytes]) -> bytes:
    return b"".join(HEADER.pack(3, 0, len(d), 2, int(t), int(t % 1 * 1e6)) + d for t, d in outputs)


def shown(player: Player) -> str:
    return "\n".join(player.lines()).strip()


def test_output_comes_at_its_time() -> None:
    player = Player(recording((100.0, b"one\r\n"), (101.0, b"two\r\n")))
    player.advance(0.1)
    assert shown(player) == "one"
    player.advance(0.5)
    assert shown(player) == "one"
    player.advance(0.5)
    assert shown(player) == "one\ntwo"
    assert player.ended


def test_long_pauses_are_shortened_and_speed_counts() -> None:
    player = Player(recording((100.0, b"a"), (5000.0, b"b")))
    assert player.length == LONGEST_PAUSE_S
    assert player.faster(1) == 2.0
    player.advance(LONGEST_PAUSE_S / 2)
    assert shown(player) == "ab"


def test_pause_holds_and_marks_are_jumped_to_round_and_round() -> None:
    player = Player(recording(*[(100.0 + i, b"%d" % i) for i in range(5)]), marks=[101.0, 103.0])
    player.paused = True
    player.advance(60)
    assert shown(player) == "0"
    assert player.next_mark() == 101.0
    player.advance(0)
    assert shown(player) == "01"
    assert player.next_mark() == 103.0
    player.advance(0)
    assert shown(player) == "0123"
    assert player.next_mark() == 101.0
    player.advance(0)
    assert shown(player) == "01"


def test_an_empty_or_torn_recording_plays_as_far_as_it_goes() -> None:
    assert Player(b"").lines()
    whole = recording((1.0, b"x"), (2.0, b"y"))
    frames, cut = frames_of(whole[:-1])
    assert [f.data for f in frames] == [b"x"]
    assert cut


def test_too_much_output_is_left_out() -> None:
    frames, cut = frames_of(recording(*[(float(i), b"z" * 2**20) for i in range(6)]))
    assert sum(len(f.data) for f in frames) <= MAX_OUTPUT
    assert cut


@pytest.mark.parametrize(
    ("size", "wanted"), [("132x43", (132, 43)), (None, (80, 24)), ("9999999x1", (200, 5)), ("ax3", (80, 24)), ("²x³", (80, 24))]
)  # fmt: skip
def test_sizes_stay_in_bounds(size: str | None, wanted: tuple[int, int]) -> None:
    assert screen_size(size) == wanted


@pytest.mark.parametrize(
    "bomb",
    [b"\x1b[999999999@" * 50, b"\x1b[2147483647;2147483647H\x1b[999999999M" * 50, b"\x1b]52;c;" + b"A" * 10_000,
     b"\x1b[" + b"9;" * 5000 + b"m", b"\x1b[?3h\x1b[?5h\x1b#8" * 500, b"\x1b[" + b"9" * 5000 + b"C", b"\x1b[2J\x1bM" * 500,
     ("e" + "\u0301" * 200_000).encode(), b"\x1b7" * 200_000, b"\x1b[" + b"1;" * 400_000 + b"m\x18"],
    ids=["insert", "delete", "clipboard", "colours", "whole screen", "digits", "erase", "marks", "places", "parameters"],
)  # fmt: skip
def test_bombs_cost_little_and_show_nothing_dangerous(bomb: bytes) -> None:
    player = Player(recording((1.0, bomb), (1.0, b"\x1b[1;1Hend")))
    started = time.perf_counter()
    while not player.ended:
        tick = time.process_time()
        player.advance(1)
        assert time.process_time() - tick < 0.05, "one tick must not hold up the console"
    assert time.perf_counter() - started < 10
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", "".join(player.lines()))


@pytest.mark.parametrize(
    "veil", ["\u200b", "\u200d", "\u202e", "\u0301" * 50, "\x1b]0;never ended", "\x1bP", "\x1b[1;", "\u1160"]
)
def test_no_character_hides_what_follows_it(veil: str) -> None:
    """The emulator by itself drops the rest of a text after an invisible character."""
    lines = ("." * 60 + "\r\n") * 100
    player = Player(recording((1.0, f"before{veil}rm -rf /var/log\r\n{lines}shown".encode())))
    while not player.ended:
        player.advance(1)
    text = "\n".join(player.lines())
    assert "shown" in text
    if "\x1b" not in veil:
        first = Player(recording((1.0, f"before{veil}rm -rf /var/log".encode())))
        while not first.ended:
            first.advance(1)
        assert first.lines()[0].startswith("befor")
        assert first.lines()[0].endswith("rm -rf /var/log")


def test_an_accent_is_one_letter_and_saved_places_are_one() -> None:
    player = Player(recording((1.0, "cafe\u0301 ".encode() + b"\x1b7" * 1000)))
    while not player.ended:
        player.advance(1)
    assert player.lines()[0] == "caf\u00e9"
    assert len(player._screen.savepoints) == 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=8))
def test_any_bytes_give_visible_lines_only(pieces: list[bytes]) -> None:
    player = Player(recording(*[(float(i), piece) for i, piece in enumerate(pieces)]))
    for _ in range(30):
        player.advance(1)
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", "".join(player.lines()))


def test_every_recording_of_the_demo_plays_to_its_end() -> None:
    paths = sorted(Path(packaged_demo_dir() / "tty").iterdir())
    assert paths
    for path in paths[::5]:
        player = Player(path.read_bytes())
        for _ in range(10_000):
            player.advance(60)
            if player.ended:
                break
        assert player.ended, path.name
