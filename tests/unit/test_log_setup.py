"""Log set-up: one handler, the level that was asked for, quiet libraries, fields cut at their limit."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from importlib import import_module

import pytest

from decnet.hostile import ELLIPSIS
from decnet.loglines import _hidden
from decnet.logs import configure_logging, get_logger

NOISY = ("nats", "alembic", "sqlalchemy", "aiosqlite", "watchfiles", "asyncio")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in NOISY}
    yield
    root.handlers[:], root.level = handlers, level
    for name, old in levels.items():
        logging.getLogger(name).setLevel(old)


def written(level: str = "INFO", fmt: str = "json") -> tuple[io.StringIO, list[logging.Handler]]:
    out = io.StringIO()
    configure_logging(fmt, level, out)
    return out, logging.getLogger().handlers


def rows(out: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


@pytest.mark.parametrize(("level", "count"), [("DEBUG", 4), ("INFO", 3), ("WARNING", 2), ("ERROR", 1)])
def test_the_level_is_the_least_that_is_written(level: str, count: int) -> None:
    out, _ = written(level)
    logger = get_logger("decnet.test")
    for name in ("debug", "info", "warning", "error"):
        getattr(logger, name)("said")
    assert [row["level"] for row in rows(out)] == ["debug", "info", "warning", "error"][-count:]
    assert {row["logger"] for row in rows(out)} == {"decnet.test"}
    assert all(str(row["timestamp"]).endswith("Z") for row in rows(out))


def test_a_second_set_up_replaces_the_first() -> None:
    first, _ = written()
    second, handlers = written()
    get_logger("decnet.test").info("said")
    assert (first.getvalue(), len(rows(second)), len(handlers)) == ("", 1, 1)


def test_libraries_are_heard_from_warnings_on() -> None:
    out, _ = written("DEBUG")
    for name in NOISY:
        logging.getLogger(name).info("chatter")
        logging.getLogger(name).warning("trouble")
    assert [(row["logger"], row["event"]) for row in rows(out)] == [(name, "trouble") for name in NOISY]


def test_a_field_is_cut_at_two_thousand_characters_and_a_message_is_not() -> None:
    out, _ = written()
    logger = get_logger("decnet.test")
    logger.info("m" * 3000, whole="x" * 2000, cut="x" * 2001, number=7)
    (row,) = rows(out)
    assert (row["event"], row["whole"], row["number"]) == ("m" * 3000, "x" * 2000, 7)
    assert row["cut"] == "x" * 1999 + ELLIPSIS


@pytest.mark.parametrize("fmt", ["json", "console"])
def test_a_traceback_keeps_its_lines_and_shows_what_it_quotes(fmt: str) -> None:
    out, _ = written(fmt=fmt)
    try:
        fail("quoted \x1b[2J\u202e")
    except ValueError:
        get_logger("decnet.test").error("failed", exc_info=True)
    text = str(rows(out)[0]["exception"]) if fmt == "json" else out.getvalue()
    assert "Traceback (most recent call last):\n" in text
    assert "ValueError: quoted \\e[2J" in text
    assert not {"\x1b", "\u202e"} & set(text)


def fail(text: str) -> None:
    raise ValueError(text)


def test_an_import_is_hidden_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "colorsys"
    monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(ImportError), _hidden(name):
        import_module(name)
    assert import_module(name) is sys.modules[name], "afterwards it is there as ever"
    with _hidden("json"):
        assert sys.modules["json"] is json, "what is loaded stays"
    assert sys.modules["json"] is json
