"""Ten thousand fuzzed payloads on a real pty: every byte that the real program writes is its own vocabulary.

The same keys go to a console over harmless data; what it writes there is the list of sequences that the
one over hostile data may write. No view, level, detail, form, message, copy or export may add to it.
"""

from __future__ import annotations

import base64
import json
import re
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fuzzkit import MARK, Written, malformed, obeyed, payloads, publish, send
from tests.fuzzworld import World, build, world
from tests.ptykit import KEYS, Terminal, terminal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
COUNT, START_S = 10_000, 60.0
ASKED = b"\x1b[6n"
"""The program asks so whether its last frame was drawn."""
SHOWN = re.compile(rb"\]777;C([0-8]\d{4})")


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, World]]:
    """A hostile and a harmless one."""
    home = tmp_path_factory.mktemp("fuzz")
    with ThreadPoolExecutor(2) as pool:
        made = [
            pool.submit(build, home / name, hostile=name == "hostile") for name in ("hostile", "harmless")
        ]
        with world(*made[0].result()) as hostile, world(*made[1].result()) as harmless:
            yield hostile, harmless


class Hand:
    """Presses keys and waits for the frame that each makes; draws nothing, since drawing is slower than reading."""

    def __init__(self, screen: Terminal) -> None:
        self.screen = screen
        screen.blind = True
        self.copies = 0

    def frame(self, limit: float) -> bool:
        """Reads until the program asks whether its frame was drawn, and says so; false when it drew nothing."""
        seen = bytearray()
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            seen += self.screen.read_some(0.01)
            if asked := seen.count(ASKED):
                self.screen.child.send("\x1b[1;1R" * asked)
                return True
        return False

    def answer_yes(self, limit: float) -> None:
        """The letter that answers a question, which copies nothing."""
        self.press("y", limit=limit)
        self.copies -= 1

    def press(self, *keys: str, limit: float = 0.12) -> None:
        """Keys one after the other."""
        for key in keys:
            assert self.screen.child.isalive(), last_words(self.screen.raw)
            self.screen.child.send(KEYS.get(key, key))
            self.copies += key == "y"
            self.frame(0.3 if key == "esc" else limit)

    def until(self, wanted: bytes | Callable[[], object], limit: float = 30.0) -> None:
        """Reads until these bytes came, from now on."""
        place, deadline = len(self.screen.raw), time.monotonic() + limit
        while not (wanted() if callable(wanted) else wanted in plain(self.screen.raw[place:])):
            assert time.monotonic() < deadline, (wanted, last_words(self.screen.raw))
            self.frame(0.05)

    @contextmanager
    def seeing(self) -> Iterator[None]:
        """Draws meanwhile; another size has everything painted anew, for who saw nothing of what stands there."""
        columns, rows = self.screen.child.getwinsize()[::-1]
        self.resize(columns - 1, rows)
        self.screen.see_from_here(columns, rows)
        self.resize(columns, rows)
        self.screen.blind = False
        yield
        self.screen.blind = True

    def resize(self, columns: int, rows: int) -> None:
        """Another size of the terminal."""
        self.screen.child.setwinsize(rows, columns)
        self.frame(0.5)
        self.frame(0.3)


def plain(raw: bytes | bytearray) -> bytes:
    return re.sub(rb"\x1b\[[\d;?]*[A-Za-z]", b"", raw)


def last_words(raw: bytes | bytearray) -> str:
    """What a program that failed wrote at its end."""
    text = plain(raw[-200_000:]).decode("utf-8", "replace")
    return "\n".join(line.strip() for line in text.splitlines() if re.search(r"\.py:\d+ in|❱|Error", line))[
        -6000:
    ]


PAGEUP, PAGEDOWN = "\x1b[5~", "\x1b[6~"
CLICK = "\x1b[<0;70;{0}M\x1b[<0;70;{0}m"
PASTE = "\x1b[200~{}\x1b[201~"
LOOK = ("down", "v", "right", PAGEDOWN, "left", "z", "z", "v", "enter", "down", "enter", "down", "enter", "y", "esc", "esc", "esc", "esc", "e", "j",
        ">", "r", "p", "p", "F", "F", "o", "esc", "\\")  # fmt: skip
GLANCE = (
    "down",
    "v",
    "right",
    PAGEDOWN,
    "z",
    "z",
    "v",
    "enter",
    "down",
    "enter",
    "y",
    "e",
    "j",
    "esc",
    "esc",
    "esc",
)
FORMS = (("4", "DCEB"), ("5", "MI"), ("6", "SR"), ("2", "anR"), ("3", "X"), ("8", "U"))


RECORDED = ("n next tagged", "no recording")
"""What stands there once it is known whether a session has a recording."""


def look_around(hand: Hand, keys: Sequence[str]) -> None:
    """Every view with its levels, details, copy, export, sort, follow."""
    for view in "01234567890":
        hand.press(view, *keys)


def find_things(hand: Hand) -> None:
    """Recordings, search, palette, help, command line, filter."""
    with hand.seeing():
        for session in ("s1", "s2", "s3"):
            hand.press(":", f"sessions {session}", "enter", limit=0.3)
            hand.screen.shows(f"session {session}", 30)
            hand.press("G", "w", limit=0.3)
            hand.screen.until(
                lambda: any(end in hand.screen.text for end in RECORDED), 30, "a recording or none"
            )
            hand.press(*">>>>", limit=0.2)
            if RECORDED[0] in hand.screen.text:  # elsewhere n asks for a note, and swallows what follows
                hand.press(*"nnn", limit=0.4)
    hand.press("y", "esc", "esc", "esc", "7", "right", "down", "enter", "enter", "esc", "esc")
    hand.press("\x06", "777;C9", "enter", limit=0.5)
    hand.press(PAGEDOWN, "enter", "y", "esc", "e", "j", "?", PAGEDOWN, "esc", "\x10", "rule", "down", "esc")
    for line in ("disable R9", "interval ", "follow ", "worker "):
        hand.press(":", line, "\t", "\t", "esc")
    hand.press(
        ":",
        PASTE.format("x\u202e\u009b2J\u200b[/x]"),
        "enter",
        "1",
        "/",
        PASTE.format("key:\u2066\u00852\U000e0041"),
        "esc",
        "\\",
    )
    hand.press("\x03", "q", "N", "~")


def ask_forms(hand: Hand) -> None:
    """Every form with the names that attackers or files gave, and two changes that are made."""
    hand.press("4", "W", limit=0.3)
    hand.answer_yes(0.3)
    for view, keys in FORMS:
        hand.press(view, "G" if view == "6" else "down", limit=0.3)
        for key in keys:
            hand.press(key, "\t", "esc", "esc", limit=0.25)
    hand.press("2", "a", "seen", "enter", limit=0.3)
    hand.answer_yes(1.0)
    hand.press("3", "X", "\t", "enter", limit=0.3)
    hand.answer_yes(1.0)
    hand.press("8", "down", "y", "esc", limit=0.3)


@dataclass
class Run:
    """One console from start to end."""

    written: Written
    copies: int
    exports: list[Path]
    marks: set[int]
    """Canaries that stood on the screen."""


def run(place: World, count: int) -> Run:
    """Starts, publishes, shows everything at two sizes, quits and leaves the terminal as it was."""
    with terminal(*place.options(), size=(80, 24)) as screen:
        before = termios.tcgetattr(screen.child.child_fd)
        hand = Hand(screen)
        hand.until(b" LIVE ", START_S)
        hand.press("1", "/", ">", "enter")
        beat = {"v": 1, "payload": {"worker": "mutator", "state": "ok"}}
        publish(
            place.url,
            [
                *payloads(count, place.dice),
                *malformed(),
                ("system.mutator.health", json.dumps(beat).encode()),
            ],
        )
        send(place.url, [b'PUB decky.\xff\x9b2J.traffic 14\r\n{"payload":{}}\r\n'])
        look_around(hand, GLANCE)
        place_in = len(
            screen.raw
        )  # what stands still is painted once: it may be there before one looks for it
        hand.resize(160, 48)
        hand.press("1", limit=0.5)
        full = f"ring {count + 3}/".encode()
        hand.until(lambda: full in plain(screen.raw[place_in:]), START_S)
        page_up(hand, count)
        look_around(hand, LOOK)
        find_things(hand)
        ask_forms(hand)
        hand.press("Q")
        hand.until(lambda: not screen.child.isalive(), 30)
        assert screen.child.exitstatus == 0
        assert termios.tcgetattr(screen.child.child_fd) == before
        written = Written(bytes(screen.raw))
    marks = {int(number) for number in MARK.findall(written.text)}
    return Run(written, hand.copies, sorted((place.folder / "console" / "exports").iterdir()), marks)


def page_up(hand: Hand, count: int) -> None:
    """From the newest event in Traffic to the oldest, unfolded, so that each stands on the screen once.

    Two keys that come within one frame skip a page; then it goes back down and up again.
    """
    hand.press("p", "z", "G")
    begun = len(hand.screen.raw)
    for key, last in ((PAGEUP, 0), (PAGEDOWN, count - 1), (PAGEUP, 0)):
        until(hand, key, f"]777;C{last:05d}".encode(), count // 10 + 20)  # dates stand between the events
        if len(set(SHOWN.findall(hand.screen.raw, begun))) >= count:
            break
    for row in range(4, 44, 4):
        hand.press(CLICK.format(row))
    hand.press("z", "p", "f")


def until(hand: Hand, key: str, wanted: bytes, most: int) -> None:
    """Presses a key until these bytes come."""
    place = len(hand.screen.raw)
    for _ in range(most):
        hand.press(key, limit=0.4)
        if wanted in hand.screen.raw[place:]:
            return
        place = len(hand.screen.raw) - 20


@pytest.fixture(scope="module")
def runs(worlds: tuple[World, World]) -> tuple[Run, Run]:
    """The console over hostile data, and the same keys over harmless data meanwhile."""
    with ThreadPoolExecutor(1) as beside:
        expected = beside.submit(run, worlds[1], 300)
        return run(worlds[0], COUNT), expected.result()


def test_every_payload_came_to_the_screen(runs: tuple[Run, Run]) -> None:
    """Else the other tests would say nothing: canaries of all events, of commands, rules, journal and a recording."""
    marks = runs[0].marks
    assert len(marks & set(range(COUNT))) == COUNT
    assert len([n for n in marks if 90_000 <= n < 91_000]) >= 4
    assert len([n for n in marks if 91_000 <= n < 92_000]) >= 18
    assert 92_000 in runs[1].marks  # of the hostile recording, the emulator swallows it
    assert all("n next tagged" in each.written.text for each in runs)


@pytest.mark.fault(
    fault="10,000 hostile payloads in every view, toast, title and form, on a terminal",
    guard="one way from attacker text to a screen",
    control="test_every_payload_came_to_the_screen",
    figure="no sequence that harmless data does not make too",
)
def test_hostile_data_adds_nothing_to_what_is_written(runs: tuple[Run, Run]) -> None:
    found, expected = (each.written for each in runs)
    assert found.shapes.keys() <= expected.shapes.keys(), set(found.shapes) - set(expected.shapes)
    assert found.styles <= expected.styles
    # What is pasted is the same in both, so that holding one against the other is not all.
    for written in (found, expected):
        others = {name for name in written.shapes if not name.startswith("CSI ")}
        assert others <= {"OSC 22", "OSC 52", "'\\r'", "'\\n'"}, others


def test_no_character_is_obeyed_or_hidden(runs: tuple[Run, Run]) -> None:
    for each in runs:
        assert not obeyed(each.written.text), [hex(ord(c)) for c in obeyed(each.written.text)]


def test_the_clipboard_is_written_by_y_alone_and_clean(runs: tuple[Run, Run]) -> None:
    for each in runs:
        copied = [base64.b64decode(text, validate=True).decode("utf-8") for text in each.written.copied]
        assert 10 < len(copied) <= each.copies
        assert not obeyed("".join(copied).replace("\n", ""))
    assert MARK.search("".join(base64.b64decode(text).decode() for text in runs[0].written.copied))


def test_exports_are_plain_ascii(runs: tuple[Run, Run]) -> None:
    for each in runs:
        assert len(each.exports) > 10
        for path in each.exports:
            assert not set(path.read_bytes()) - set(b"\n") - set(range(0x20, 0x7F)), path
    exports = [path for path in runs[0].exports if path.suffix != ".yaml"]  # those are drafts of rules
    lines = [line for path in exports for line in path.read_bytes().splitlines()]
    assert all(json.loads(line) is not None for line in lines[::50])
    assert any(b"]777;C" in line for line in lines)


def test_the_log_of_the_console_is_visible_text(worlds: tuple[World, World], runs: tuple[Run, Run]) -> None:
    for place in worlds:
        for path in place.folder.rglob("*.log"):
            if path.name != "nats.log":
                assert not obeyed(path.read_text("utf-8").replace("\n", "")), path


def test_the_terminal_is_left_as_it_was(runs: tuple[Run, Run]) -> None:
    """Beside the line discipline, which the run itself looks at: every mode that was set was reset."""
    for each in runs:
        usual = {"?7": "h", "?25": "h"}
        assert {
            mode: state for mode, state in each.written.modes.items() if state != usual.get(mode, "l")
        } == {}
        assert each.written.shapes["CSI >25u"] == each.written.shapes["CSI <u"]
