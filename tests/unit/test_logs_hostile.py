"""Attacker text in a log line: fields, messages of libraries and tracebacks are shown, not obeyed."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from decnet.logs import configure_logging, get_logger
from tests.fuzzkit import SEQUENCES, obeyed

NASTY = "".join(SEQUENCES) + "\u202e\u200b"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:], root.level = handlers, level


@pytest.mark.parametrize("fmt", ["console", "json"])
def test_no_line_of_the_log_is_obeyed(log: io.StringIO, fmt: str) -> None:
    configure_logging(fmt, "INFO", log)
    logger = get_logger("decnet.test")
    logger.info("seen", text=NASTY, several=[NASTY, {NASTY: NASTY}])
    logging.getLogger("library").warning("it said %s", NASTY)
    try:
        int(NASTY)
    except ValueError:
        logger.exception("failed")
    lines = log.getvalue().rstrip("\n").split("\n")
    assert "ValueError: invalid literal for int" in log.getvalue()
    assert not any(obeyed(line) for line in lines)
    if fmt == "json":
        assert [json.loads(line)["level"] for line in lines] == ["info", "warning", "error"]
