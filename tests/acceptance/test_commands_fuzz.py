"""What the commands and the plain mode write to a terminal about a hostile store and hostile events: text, and no more."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pexpect  # type: ignore[import-untyped]
import pytest

from tests.fuzzkit import MARK, Dice, Written, malformed, obeyed, payloads, publish
from tests.fuzzworld import SEED, World, build, world
from tests.programkit import surroundings
from tests.ptykit import Terminal, terminal
from tests.storekit import rule

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
START_S = 60.0
BAR = re.compile(r"\r(?:judge \[[#.]{30}\] \d+/\d+ sessions)?\x1b\[K")
"""The one line that is written over: how far ``rules judge`` is, on stderr; at its end the line is emptied."""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A store and a bus."""
    with world(*build(tmp_path_factory.mktemp("fuzz") / "hostile", hostile=True)) as made:
        yield made


LISTS = ("tags", "sessions", "attackers", "identities", "identities --joined", "campaigns", "attribution", "alerts", "workers", "deadletters", "summary", "sensors", "find 777", "find C9",
         "ignore list", "rules list", "rules show R9000", "rules show R9001", "fleet list", "doctor", "rules coverage", "rules judge")  # fmt: skip
COMMANDS = """
import json, sys
from decnet_tui.cli.main import app
for arguments in json.load(open(sys.argv[1])):
    sys.stdout.flush()
    print("\\n=== " + json.dumps(arguments), flush=True)
    try:
        app(arguments)
    except SystemExit as end:
        print("--- ended", end.code, flush=True)
"""
"""All commands in one interpreter on one terminal: each for itself would take a second to start."""


def on_a_pty(program: str, arguments: Sequence[str], limit: float) -> bytes:
    """What a program writes to a terminal until it ends."""
    env = {
        **{k: v for k, v in surroundings().items() if k != "NO_COLOR"},
        "TERM": "xterm-256color",
        "LC_ALL": "C.UTF-8",
        "COLUMNS": "200",
    }
    child = pexpect.spawn(program, list(arguments), env=env, dimensions=(48, 200), timeout=limit)
    raw: bytes = child.read()
    child.close()
    return raw


def commands(place: World, folder: Path) -> list[list[str]]:
    """Lists as text and as JSON, exports to standard output, answers about hostile names."""
    at = ["--data-dir", str(place.folder / "data")]
    nasty = "\x1b]0;owned\x07\x1b[31m\u202e\u200b\x9b2J"
    (folder / "lines").write_bytes(
        b"".join(Dice(3).text().encode("utf-8", "replace").replace(b"\n", b"") + b"\n" for _ in range(500))
    )
    (folder / "rules").mkdir()
    for number in range(5):
        text = f"rule_id: {json.dumps(nasty)}\n{json.dumps(nasty)}: 1\nname: {Dice(number).text()}\n"
        (folder / "rules" / f"R{number}{nasty[1:9]}.yaml").write_bytes(text.encode("utf-8", "replace"))
    named = (
        rule("R0001")
        .replace("name: demo", f"name: {json.dumps(nasty)}")
        .replace("description: d", f"description: {json.dumps(nasty)}")
    )
    (folder / "rules" / "R0001_nasty.yaml").write_text(named, "utf-8")
    lists = [[*line.split(), "--limit", "0", *at] if line not in ("doctor", "rules coverage") and "show" not in line else [*line.split(), *at]
             for line in LISTS]  # fmt: skip
    wrong = [["rules", "show", nasty], ["alerts", "show", nasty], ["alerts", "ack", nasty], ["ignore", "remove", nasty], ["find", nasty], [nasty],
             ["fleet", "mutate", nasty], ["fleet", "interval", nasty, "1h"], ["rules", "disable", nasty, "--for", "1h"], ["tags", "--since", nasty],
             ["deadletters", "retry", nasty], ["worker", "pause", nasty], ["watch", nasty], ["tag", nasty], ["export", nasty, "-o", "-"],
             ["tags", "--session", nasty], ["rules", "check", nasty], ["summary", "--since", nasty], ["backfill", "--since", "7d", "--rule", nasty],
             ["rules", "clip", "R9001", "--max", nasty], ["--sensor", nasty], ["replay", nasty], ["--config", nasty, "tags"]]  # fmt: skip
    exports = [["export", what, "-o", "-", *at] for what in ("csv", "jsonl", "navigator", "stix")]
    own = ["--rules", str(folder / "rules"), "--data-dir", str(folder)]
    checks = [
        ["rules", "check", str(folder / "rules")],
        ["tag", str(folder / "lines"), *own],
        ["rules", "judge", str(folder / "lines"), *own],
    ]
    lists += [["rules", "list", *own], ["rules", "show", "R0001", *own]]
    return [*lists, *[[*line, "--json"] for line in lists], *[[*line, *at] if line[0] not in ("--config", "--sensor") else line for line in wrong],
            *exports, *checks, [*checks[0], "--json"], ["tag", str(folder / "lines")]]  # fmt: skip


@pytest.mark.fault(
    fault="a hostile store behind every command, and hostile arguments",
    guard="one way from attacker text to a terminal; JSON in ASCII",
    control="itself",
    figure="lines of text, no crash",
)
def test_no_command_writes_what_a_terminal_obeys(hostile: World, tmp_path: Path) -> None:
    asked = commands(hostile, tmp_path)
    (tmp_path / "commands.json").write_text(json.dumps(asked), "ascii")
    raw = on_a_pty(sys.executable, ["-c", COMMANDS, str(tmp_path / "commands.json")], 120)
    whole = raw.decode()
    written = Written(BAR.sub("", whole).encode())
    assert "Traceback" not in written.text, whole[-3000:]
    assert written.shapes.keys() <= {"'\\r'", "'\\n'"}, written.shapes
    assert not obeyed(written.text), [hex(ord(c)) for c in obeyed(written.text)]
    answers = whole.split("\r\n=== ")[1:]
    assert len(answers) == len(asked)
    barred = [(a[:2], "--json" in a) for a, answer in zip(asked, answers, strict=True) if BAR.search(answer)]
    assert barred == [(["rules", "judge"], False), (["rules", "judge"], True)]
    told = {" ".join(a[:2]) for a, answer in zip(asked, answers, strict=True) if "]777;C" in answer}
    assert told >= {"tags --limit", "find C9", "deadletters --limit", "export jsonl"}, told
    for arguments, answer in zip(asked, answers, strict=True):
        if "--json" in arguments or arguments[0] == "tag":
            assert answer.isascii(), arguments
    assert sum("\\e]0;owned" in answer for answer in answers) > 10
    shown = [json.loads(line) for a, answer in zip(asked, answers, strict=True) if a[0] == "tags" and "--json" in a
             for line in answer.split("\r\n") if line.startswith("[{")]  # fmt: skip
    assert shown


STREAMED = 3000


def said(word: str) -> tuple[str, bytes]:
    """An event that is easily found."""
    return "decky.web-01.traffic", json.dumps({"payload": {"attacker_ip": word}}).encode()


def test_no_stream_writes_what_a_terminal_obeys(hostile: World) -> None:
    """``watch`` as text and as JSON, and the console in plain mode."""
    place = hostile
    bus: list[str | Path] = [
        "--bus",
        place.url,
        "--config",
        place.folder / "settings.yaml",
        "--data-dir",
        place.folder / "console",
    ]
    with (
        terminal("watch", *bus) as text,
        terminal("watch", "--json", *bus) as as_json,
        terminal(*place.options(), environ={"TERM": "dumb"}) as dumb,
    ):
        screens = (text, as_json, dumb)
        for screen in screens:
            screen.blind = True
        read_until(
            screens, lambda s: b"the-first" in s.raw or not publish(place.url, [said("the-first")]), START_S
        )
        publish(place.url, [*payloads(STREAMED, Dice(SEED + 5)), *malformed(), said("the-last")])
        read_until(screens, lambda s: b"the-last" in s.raw, START_S)
        assert all(screen.child.isalive() for screen in screens)
    # As text a topic with words of its own shows of a body only what it names: marks come with the others.
    for screen, least in ((text, 400), (as_json, STREAMED), (dumb, STREAMED * 0.75)):
        written = Written(bytes(screen.raw))
        assert written.shapes.keys() <= {"'\\r'", "'\\n'"}, written.shapes
        assert not obeyed(written.text), [hex(ord(c)) for c in obeyed(written.text)]
        assert len({int(n) for n in MARK.findall(written.text)}) >= least
    assert as_json.raw.isascii()
    assert dumb.raw.isascii()


def read_until(screens: Sequence[Terminal], ready: Callable[[Terminal], object], limit: float) -> None:
    """Reads all of them until each is ready."""
    deadline = time.monotonic() + limit
    while not all(ready(screen) for screen in screens):
        assert time.monotonic() < deadline, [bytes(screen.raw[-500:]) for screen in screens]
        for screen in screens:
            screen.read(0.2)
