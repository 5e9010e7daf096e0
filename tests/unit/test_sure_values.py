"""Values that are taken without Typer's checks are those that the checks take, and become the same."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.main import get_command

from decnet_tui.cli import sure

GIVEN: list[Any] = []


def made() -> typer.Typer:
    app = typer.Typer(rich_markup_mode=None)

    @app.command()
    def command(
        text: Annotated[str | None, typer.Option()] = None,
        number: Annotated[int, typer.Option(min=0, max=500)] = 100,
        most: Annotated[int, typer.Option(min=10)] = 10,
        clamped: Annotated[int, typer.Option(min=0, max=5, clamp=True)] = 1,
        path: Annotated[Path | None, typer.Option()] = None,
        there: Annotated[Path | None, typer.Option(exists=True)] = None,
        full: Annotated[Path | None, typer.Option(resolve_path=True)] = None,
        file: Annotated[Path | None, typer.Option(dir_okay=False)] = None,
        several: Annotated[list[str] | None, typer.Option()] = None,
        part: Annotated[float | None, typer.Option()] = None,
        turned: Annotated[str | None, typer.Option(parser=lambda value: value[::-1])] = None,
        flag: Annotated[bool, typer.Option("--flag")] = False,
    ) -> None:
        GIVEN.append((text, number, most, clamped, path, there, full, file, several, part, turned, flag))

    return app


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--flag"],
        *(["--text", text] for text in ("", "x", "-", "é", "\udcff", "a\nb")),
        *(
            ["--number", text]
            for text in ("0", "1", "500", "501", "-1", "+1", "01", "1_0", " 1", "1.0", "x", "", "9" * 30, "\u0663")
        ),
        *(["--most", text] for text in ("9", "10", "999999999", "9999999999")),
        *(["--clamped", text] for text in ("5", "6", "-1")),
        *(["--path", text] for text in ("/tmp", "/no/such", ".", "", "-", "é", "/etc/shadow", "a\0b")),
        *([option, text] for option in ("--there", "--full", "--file") for text in ("/tmp", "/no/such", "x")),
        ["--several", "a", "--several", "b"],
        ["--part", "1.5"],
        ["--part", "x"],
        ["--turned", "abc"],
        ["--unknown"],
        ["--help"],
    ],
)  # fmt: skip
def test_the_answer_is_that_of_the_checks(arguments: list[str]) -> None:
    told = []
    for spared in (False, True):
        GIVEN.clear()
        command = get_command(made())
        if spared:
            sure.spare(command)
            sure.spare(command)
        told.append((*answer(command, arguments), [repr(row) for row in GIVEN]))
    assert told[0] == told[1]


def answer(command: Any, arguments: list[str]) -> tuple[object, str]:
    """How a command ends, and what it says."""
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said), pytest.raises(SystemExit) as ended:
        command.main(arguments, prog_name="it")
    return ended.value.code, said.getvalue()


def test_a_path_that_cannot_be_read_is_for_the_checks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(os, "access", lambda path, mode: asked.append(str(path)))
    assert sure._sure(str(tmp_path), _param(made(), "path")) is sure._UNSURE
    assert asked == [str(tmp_path)]


def _param(app: typer.Typer, name: str) -> Any:
    return next(param for param in get_command(app).params if param.name == name)


def test_what_is_sure_needs_no_pydantic() -> None:
    code = (
        "import sys\nfrom decnet_tui.cli.sure import spare\nfrom typer.main import get_command\n"
        "from tests.unit.test_sure_values import made\n"
        "assert 'pydantic' not in sys.modules\ncommand = get_command(made())\nspare(command)\n"
        "command.main(['--text', 'x', '--number', '3', '--path', '/tmp', '--flag'], standalone_mode=False)\n"
        "assert 'pydantic' not in sys.modules\n"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
