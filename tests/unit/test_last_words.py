"""A console that fails prints what it failed on, and the terminal obeys none of it."""

from __future__ import annotations

import pytest
from rich.traceback import Traceback

from decnet.config import Settings
from decnet_tui.app import DecnetApp
from tests.consolekit import FakeSession
from tests.fuzzkit import SEQUENCES, obeyed


def test_the_traceback_of_a_failed_console_is_visible_text(capsys: pytest.CaptureFixture[str]) -> None:
    nasty = "".join(SEQUENCES) + "\u202e\u200b"
    app = DecnetApp(Settings(), session=FakeSession())
    try:
        raise ValueError(f"not understood: {nasty}")  # noqa: TRY301
    except ValueError:
        app.error_console.print(Traceback(show_locals=True, width=None))
    said = capsys.readouterr().err
    assert "ValueError: not understood: " in said
    assert "\\e[2J" in said
    assert not obeyed(said.replace("\n", ""))
