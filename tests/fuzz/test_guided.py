"""Inputs that are bred by what they reach find what a draw of any bytes would not, and it is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz import guided
from tests.fuzz.keeping import kept


def deep(data: bytes) -> None:
    """A fault behind four bytes: drawn, one input in four thousand million has them."""
    if data[:1] == b"d" and data[1:2] == b"e" and data[2:3] == b"e" and data[3:4] == b"p":
        raise KeyError("a fault")


def sound(data: bytes) -> None:
    """None."""


def test_a_fault_is_bred_that_nobody_would_draw(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="atheris has no wheel for this system")
    monkeypatch.setattr("tests.fuzz.keeping.CORPUS", tmp_path / "corpus")
    (found,), _ = guided.breed(f"{__name__}:deep", [b"x"], [], tmp_path / "bred", 60)
    path = guided.hunted("shell", deep, found)
    assert kept("shell") == [path.read_bytes()] == [b"deep"]
    assert list((tmp_path / "bred").iterdir()), "what led there is kept"
    nothing, said = guided.breed(f"{__name__}:sound", [b"x"], [b"word"], tmp_path / "other", 1)
    assert nothing == []
    assert "exec/s" in said
    with pytest.raises(RuntimeError, match="atheris ended with"):
        guided.breed(f"{__name__}:nothing_there", [b"x"], [], tmp_path / "other", 1)


def test_words_are_a_dictionary_of_libfuzzer() -> None:
    assert guided.quoted([b'a"', b"\\\n"]) == "# none is empty\n" + '"\\x61\\x22"\n"\\x5c\\x0a"\n'


def test_without_atheris_that_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(guided, "find_spec", lambda name: None)
    assert guided.main([], 1) == 0
    assert capsys.readouterr().out.startswith("NOT BRED: atheris is not installed")
