"""Completion scripts know every command, option and value, and complete them in a real shell without starting Python."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from decnet_tui.cli.main import app
from tests.docs.commands import every


def script(shell: str) -> str:
    done = CliRunner().invoke(app, ["completion", shell])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def bash(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "decnet-tui"
    path.write_text(script("bash"))
    return path


def completed(bash: Path, *words: str) -> list[str]:
    """What the shell offers for the last word; no program of that name is on the path."""
    code = 'source "$0"; COMP_WORDS=(decnet-tui "$@"); COMP_CWORD=$#; COMPREPLY=(); _decnet_tui; printf "%s\\n" "${COMPREPLY[@]}"'
    tool = shutil.which("bash")
    assert tool is not None
    done = subprocess.run([tool, "-c", code, str(bash), *words], capture_output=True, text=True, check=True, env={"PATH": ""}, cwd=bash.parent)  # fmt: skip
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(("words", "offered"), [
    (["ru"], ["rules"]),
    (["rules", "import"], ["import-sigma"]),
    (["rules", "list", "--js"], ["--json"]),
    (["unit", "--role", ""], ["all", "sensors", "engine"]),
    (["unit", "--role", "s"], ["sensors"]),
    (["tags", "--since", "1h", "--tech"], ["--technique"]),
    (["--data-dir", "x", "rules", "che"], ["check"]),
    (["completion", "--he"], ["--help"]),
])  # fmt: skip
def test_bash_completes(bash: Path, words: list[str], offered: list[str]) -> None:
    assert completed(bash, *words) == offered


def test_files_are_completed_where_a_command_takes_some(bash: Path) -> None:
    (bash.parent / "rule.yaml").touch()
    assert "rule.yaml" in completed(bash, "rules", "test", "rul")
    assert completed(bash, "rules", "zzz") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_command_and_option_is_in_the_script(shell: str) -> None:
    text = script(shell)
    for name, command in every():
        assert name.rpartition(" ")[2] in text, name
        for option in (
            o for p in command.params if p.param_type_name == "option" and not p.hidden for o in p.opts
        ):
            assert option.lstrip("-") in text, (name, option)


def test_an_unknown_shell_is_wrong_usage_in_one_line() -> None:
    done = CliRunner().invoke(app, ["completion", "csh"])
    assert (done.exit_code, len(done.stderr.strip().splitlines())) == (2, 1)
