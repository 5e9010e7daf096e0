"""The wheel and its locked libraries, installed by pip alone into a fresh environment: console, headless demo, doctor, report.

Where the package index cannot be reached this is skipped: what was locked is then installed nowhere.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.supply.lock import LOCK, parts
from tests.supply.wheel import under_test

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PROBE = "typing-extensions"
"""A small part of the lock: an index that has it is there."""


def pip(python: Path, *words: str | Path, timeout: float = 400.0) -> subprocess.CompletedProcess[str]:
    command = [python, "-m", "pip", "--disable-pip-version-check", "--retries", "1", *map(str, words)]
    return ran(command, python.parent, timeout)


def ran(
    command: Sequence[str | Path], place: Path, timeout: float, **more: str
) -> subprocess.CompletedProcess[str]:
    """Without settings and paths of ours: nothing of the checkout is found."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DECNET_", "PYTHON"))}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=timeout, stdin=subprocess.DEVNULL,
        cwd=place, env={**kept, "NO_COLOR": "1", **more},
    )  # fmt: skip


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed program."""
    place = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", str(place / "env")], check=True)
    python = place / "env" / "bin" / "python"
    (part,) = [one for one in parts(LOCK.read_text("utf-8")) if one.name == PROBE]
    wanted = f"{part.name}=={part.version}"
    asked = pip(python, "--timeout", "15", "download", "--no-deps", "--no-cache-dir", "-d", place, wanted)
    if asked.returncode != 0:
        pytest.skip(f"no package index can be reached from here: {asked.stderr.strip()[-200:]}")
    made = pip(python, "install", "--quiet", "--no-compile", "--require-hashes", "-r", LOCK)
    assert made.returncode == 0, made.stderr[-2000:]
    made = pip(python, "install", "--quiet", "--no-deps", "--no-index", under_test(place))
    assert made.returncode == 0, made.stderr[-2000:]
    checked = pip(python, "check")
    assert checked.returncode == 0, checked.stdout
    return python.with_name("decnet-tui")


def test_the_first_commands_of_a_stranger_work(program: Path) -> None:
    place = program.parent

    def told(*words: str, code: int = 0) -> str:
        done = ran([program, *words], place, 120, HOME=str(place), XDG_STATE_HOME=str(place / "state"))
        assert done.returncode == code, (words, done.stdout[-1000:], done.stderr[-2000:])
        return done.stdout

    package = ran([place / "python", "-c", "import decnet; print(decnet.__path__[0])"], place, 60).stdout
    assert Path(package.strip()).is_relative_to(place.parent), "the installed one, not a checkout"
    assert told("--version").startswith("decnet-tui ")
    assert "T1105" in told("--headless", "--demo", "--until-idle", "0.5", "--data-dir", "demo")
    found = {row["check"]: row for row in json.loads(told("doctor", "--json", "--data-dir", "demo"))}
    assert {row["result"] for check, row in found.items() if check not in ("terminal", "sensors")} == {"ok"}
    told("report", "-o", "report.html", "--data-dir", "demo")
    assert "203.0.113.77" in (place / "report.html").read_text("utf-8")
    assert "T1105" in told("tags", "--technique", "T1105", "--data-dir", "demo")
