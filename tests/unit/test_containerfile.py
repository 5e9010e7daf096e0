"""The container file: two stages, pinned by hashes, no root, nothing but its state is written."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KNOWN = {
    "FROM",
    "WORKDIR",
    "COPY",
    "RUN",
    "ENV",
    "USER",
    "VOLUME",
    "STOPSIGNAL",
    "HEALTHCHECK",
    "ENTRYPOINT",
    "CMD",
}


def instructions() -> list[tuple[str, str]]:
    """Keyword and the rest of each instruction, continued lines joined, comments left out."""
    text = re.sub(r"\\\n\s*", " ", (ROOT / "Containerfile").read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


def of(keyword: str) -> list[str]:
    return [rest for word, rest in instructions() if word == keyword]


def test_every_instruction_is_one_and_the_stages_are_two() -> None:
    assert {word for word, _ in instructions()} <= KNOWN
    stages = of("FROM")
    assert [bool(re.search(r" AS build\Z", stage)) for stage in stages] == [True, False]
    for stage in stages:
        image, tag = stage.split()[0].rsplit(":", 1)
        assert image.count("/") >= 2, "named with its registry"
        assert tag != "latest"


def test_it_runs_as_a_user_without_rights_and_writes_its_state_only() -> None:
    (user,) = of("USER")
    assert [int(part) > 0 for part in user.split(":")] == [True, True]
    last_stage = instructions()[[i for i, (w, _) in enumerate(instructions()) if w == "FROM"][-1] :]
    words = [word for word, _ in last_stage]
    assert words.index("USER") > max(i for i, word in enumerate(words) if word == "RUN"), (
        "made by root, run by nobody"
    )
    (volume,) = of("VOLUME")
    assert volume == '["/var/lib/decnet-tui"]'
    env = dict(part.split("=", 1) for rest in of("ENV") for part in shlex.split(rest))
    assert env["PYTHONDONTWRITEBYTECODE"] == "1", "the file system may be read-only"
    assert f"{env['XDG_STATE_HOME']}/decnet-tui" == env["HOME"] == "/var/lib/decnet-tui"
    head = (ROOT / "Containerfile").read_text(encoding="utf-8").partition("FROM ")[0]
    assert {"--read-only", "--cap-drop ALL", "no-new-privileges"} <= {w for w in ("--read-only", "--cap-drop ALL", "no-new-privileges") if w in head}  # fmt: skip


def test_what_is_installed_is_pinned_by_hash_and_what_is_copied_is_there() -> None:
    installs = [
        command
        for rest in of("RUN")
        for command in rest.split("&&")
        if " install " in command and "pip" in command
    ]
    assert len(installs) == 2
    assert "--require-hashes" in installs[0]
    assert "--no-deps" in installs[1]
    ignored = [line.strip() for line in (ROOT / ".containerignore").read_text().splitlines()]
    for rest in of("COPY"):
        words = rest.split()
        if words[0].startswith("--from="):
            continue
        for source in words[:-1]:
            assert (ROOT / source).exists(), source
            assert source.split("/")[0] not in ignored, source


@pytest.mark.parametrize("keyword", ["ENTRYPOINT", "CMD"])
def test_the_program_gets_signals_itself(keyword: str) -> None:
    (told,) = of(keyword)
    assert told.startswith("["), "no shell stands between"
