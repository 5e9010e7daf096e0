"""Every command of README and guides that can run is run, on a data directory that the demo has filled; the rest has its reason.

A line that is new is run. One that cannot run here is named in ``NOT_RUN``, and one that is named there and gone is an error.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from typer.testing import CliRunner

from decnet.config import load_settings
from decnet.mutator.fleet import parse_fleet
from decnet.services import load_catalogue
from decnet.ttp.loader import load_bytes
from decnet.ttp.selftest import run_rule_tests
from decnet_tui.cli.examples import EXAMPLES
from decnet_tui.cli.main import app
from tests.docs.commands import every
from tests.programkit import cli
from tests.sigmakit import sigma

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMANDS = ROOT / "docs" / "commands.md"
MADE = {COMMANDS.name}
"""Generated from what is tested where it stands."""
_BLOCK = re.compile(r"(?ms)^( *)```(\w+)\n(.*?)^\1```")
_MAKES = "makes an environment and takes minutes; CI runs it"
_ROOT_ONLY = "changes the packet filter of the host"
_DAEMON = "is a daemon or the console, which runs until it is stopped; the demo that has filled the directory here is one of these"
_ENGINE = "asks a running engine"
_THEIRS = "names a file of the reader's"
_TOKEN = "names a token that was minted before; tests/integration/test_canary_cli.py mints and places one"
NOT_RUN = {
    "make ": _MAKES,
    "nft ": _ROOT_ONLY,
    "nats-server ": "a server of the reader's; tests/integration/test_bus_users.py starts one on such a file",
    "decnet-tui --": _DAEMON,
    "decnet-tui": "is the console; tests/acceptance/test_console_pty.py runs it in a terminal",
    "decnet-tui watch ": "follows a running engine until it is interrupted; tests/integration/test_cli.py",
    "decnet-tui replay ": f"{_ENGINE}; tests/integration/test_cli.py replays a log",
    "decnet-tui sensors try ": f"{_THEIRS}; tests/unit/test_sensors_command.py tries some",
    "decnet-tui canary place ": _TOKEN,
    "decnet-tui canary revoke ": _TOKEN,
    "decnet-tui fleet setup": "makes an environment from the package index; tests/acceptance/test_fleet.py",
    "decnet-tui fleet mutate ": f"{_ENGINE}; tests/acceptance/test_fleet.py",
    "decnet-tui fleet topology ": f"{_ENGINE}; tests/integration/test_fleet_topology.py",
    "decnet-tui bus config ": f"{_THEIRS} (a certificate); tests/unit/test_bus_config.py writes one",
}
"""Beginning of a line (all of it where it ends without a blank and nothing follows) → why it is not run."""
NEEDS = {
    "decnet-tui canary mint ": ("DECNET_DECOYS__CANARY_HTTP__BASE_URL", "http://files.example"),
    "decnet-tui fleet apply ": ("XDG_STATE_HOME", "elsewhere"),
}
"""Settings that the page tells of elsewhere, as variables; a data directory in which the demo's fleet is not."""
FAILS_RIGHTLY = {"decnet-tui doctor", "decnet-tui workers", "decnet-tui status"}
"""Tell with exit code 1 that no engine runs here."""


class Line(NamedTuple):
    """One command of a page."""

    page: str
    text: str


def blocks(page: Path, kind: str) -> Iterator[str]:
    for found in _BLOCK.finditer(page.read_text(encoding="utf-8")):
        if found[2] == kind:
            yield re.sub(r"\\\n\s*", " ", found[3])


def lines() -> list[Line]:
    """Every line of a shell block, without its comment."""
    found = []
    for page in PAGES:
        if page.name not in MADE:
            for block in blocks(page, "sh"):
                texts = (re.sub(r"\s+#\s.*", "", line).strip() for line in block.splitlines())
                found += [
                    Line(str(page.relative_to(ROOT)), text)
                    for text in texts
                    if text and not text.startswith("#")
                ]
    return found


def reason(text: str) -> str | None:
    """The beginning under which a line is named as not run."""
    return next((b for b in NOT_RUN if text == b or (b.endswith(" ") and text.startswith(b)) or (" " in b and text.startswith(b))), None)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory to stand in, with what the guides' lines name; below it a data directory that the demo has filled."""
    top = tmp_path_factory.mktemp("guides")
    done = cli(
        "--headless", "--demo", "--until-idle", "0.5", "--data-dir", top / "state" / "decnet-tui", timeout=100
    )
    assert done.returncode == 0, done.stderr
    (top / "listed").mkdir()
    for command in (*LISTS.values(), "sessions", "attackers"):
        done = cli(command, "--json", "--limit", "1000", "--data-dir", top / "state" / "decnet-tui")
        (top / "listed" / command).write_bytes(done.stdout)
    rules = top / "sigma" / "rules" / "linux"
    rules.mkdir(parents=True)
    (rules / "a.yml").write_text(yaml.safe_dump(sigma()))
    (page,) = (block for block in blocks(ROOT / "docs" / "decoys.md", "yaml") if "deckies:" in block)
    (top / "fleet.yaml").write_text(page)
    return top


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_command_that_can_run_does(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("XDG_STATE_HOME", str(place / "state"))
    wrong, run = [], 0
    for line in dict.fromkeys(lines()):
        if reason(line.text) is not None:
            continue
        with monkeypatch.context() as patch:
            for beginning, (name, value) in NEEDS.items():
                if line.text.startswith(beginning):
                    patch.setenv(name, value)
            code, output = _run(line.text, place)
        run += 1
        if code != 0 and not (code == 1 and line.text in FAILS_RIGHTLY):
            wrong.append((line, code, output[-300:]))
    assert wrong == []
    assert run >= 35


def _run(text: str, place: Path) -> tuple[int, str]:
    """Exit code and output of a line; what it writes to a file is read, paths below /srv are those of the test."""
    words, said = shlex.split(text), None
    if ">" in words:
        words = words[: words.index(">")]
    if words[0] == "echo" and "|" in words:
        said, words = words[1] + "\n", words[words.index("|") + 1 :]
    if words[0] == "python":
        ended = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True, check=False)
        return ended.returncode, ended.stdout + ended.stderr
    assert words[0].rpartition("/")[2] == "decnet-tui", text
    here = [str(place / word[1:]) if word.startswith("/srv/") else word for word in words[1:]]
    done = CliRunner().invoke(app, here, input=said)
    return done.exit_code, done.output


_NAMES = re.compile(
    r"\b(pb-[0-9a-f]{12}|(?:campaign[: ]|coverage )c-[0-9a-f]{4,8}|id:i-[0-9a-f]{4,8}|session [0-9a-f]{8}|attacker [0-9.]{7,15})\b"
)
"""Playbooks, campaigns, identities, sessions and addresses that a reader is shown how to ask for."""
LISTS = {"pb-": "playbooks", "c-": "campaigns", "i-": "identities"}
"""Beginning of a name → the list that has it."""
MADE_UP = {"events.md"}
"""Shows one made-up event for each topic."""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_who_and_what_the_guides_ask_for_is_in_the_demo(place: Path) -> None:
    asked = {
        found for page in (*PAGES, COMMANDS) if page.name not in MADE_UP for found in _NAMES.findall(page.read_text("utf-8"))
    }  # fmt: skip
    missing = []
    for text in asked:
        word = re.split("[: ]", text)[-1]
        command = next((command for prefix, command in LISTS.items() if word.startswith(prefix)), "")
        command = command or ("attackers" if "." in word else "sessions")
        if f'"{re.sub("^[ci]-", "", word)}' not in (place / "listed" / command).read_text("utf-8"):
            missing.append(text)
    assert sorted(missing) == []
    assert len(asked) >= 5


def test_what_is_not_run_is_named_with_its_reason_and_nothing_else_is() -> None:
    used = {found for line in lines() if (found := reason(line.text)) is not None}
    assert NOT_RUN.keys() - used == set(), "gone from the pages"
    for why in NOT_RUN.values():
        for path in re.findall(r"tests/[\w/]+\.py", why):
            assert (ROOT / path).is_file(), path


def test_examples_of_help_are_of_commands_that_are_there_and_take_these_options() -> None:
    known = {name.removeprefix("decnet-tui").strip(): command for name, command in every()}
    assert EXAMPLES.keys() <= known.keys()
    for command, examples in EXAMPLES.items():
        options = {name for param in known[command].params for name in param.opts}
        for text in examples:
            words = shlex.split(text.partition(" > ")[0])
            at = words.index("decnet-tui")
            given = {w.partition("=")[0] for w in words[at:] if w.startswith("-") and w != "-"}
            assert given <= options, text


def test_settings_in_the_guides_are_settings(tmp_path: Path) -> None:
    seen = 0
    for page in ("scale.md", "remote-sensors.md"):
        for number, block in enumerate(blocks(ROOT / "docs" / page, "yaml")):
            file = tmp_path / f"{number}.yaml"
            file.write_text(block)
            load_settings(file)
            seen += 1
    assert seen >= 4


def test_the_fleet_and_the_rule_of_the_guides_load() -> None:
    (fleet,) = (b for b in blocks(ROOT / "docs" / "decoys.md", "yaml") if "deckies:" in b)
    assert [decky.name for decky in parse_fleet(fleet, "docs/decoys.md", load_catalogue()).deckies] == [
        "web-01"
    ]
    (text,) = (b for b in blocks(ROOT / "docs" / "rules.md", "yaml") if "rule_id:" in b)
    rule, errors = load_bytes(text.encode(), "docs/rules.md")
    assert rule is not None, errors
    assert run_rule_tests([rule]) == []


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
