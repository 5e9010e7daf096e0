"""``tag``: offline, one answer for each input line; needs no engine."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from select import select
from typing import TYPE_CHECKING, Annotated, BinaryIO, cast

import typer

from decnet.hostile import visible
from decnet_tui.cli import common
from decnet_tui.cli.offline import tagger_of

if TYPE_CHECKING:
    from io import BufferedReader

    from decnet.ttp.offline import OfflineTagger

_READ_BYTES = 32_768
"""Bytes read at once, and answered in one write; of a pipe what is there, so that who follows a log sees each line soon."""
_EVENT_MARK = b"source_kind"
_ALONE_S = 0.06
"""Seconds of work until other processes help; before that, their start costs more than they save."""

_tagger: OfflineTagger | None = None


def _lines(stream: BinaryIO) -> Iterator[str]:
    """Lines without their end; only ``\\n`` ends a line, bad UTF-8 is replaced."""
    for raw in stream:
        yield raw.rstrip(b"\n").decode("utf-8", "replace")


def tag(
    source: Annotated[
        str, typer.Argument(metavar="[FILE or -]", help="Commands or TaggerEvents, one a line.")
    ] = "-",
    sessions: Annotated[
        bool,
        typer.Option(
            "--sessions", help='Whole sessions, one object a line: {"session": id, "commands": [text, ...]}.'
        ),
    ] = False,
    rules: common.RulesDir = None,
    config: common.ConfigFile = None,
    data_dir: common.DataDir = None,
    db: common.DbUrl = None,
    _: common.AsJson = False,
) -> None:
    """Tags commands, or whole sessions, offline: one JSON line out for each line in.

    The rules alone count, no operator's state.
    """
    tagger = tagger_of(common.home_of(config, rules=rules, data_dir=data_dir, db=db))
    try:
        stream = sys.stdin.buffer if source == "-" else Path(source).open("rb")
    except OSError as error:
        common.fail(f"{source}: cannot be read: {error.strerror}")
    global _tagger  # noqa: PLW0603 - children of this process find it there without a copy being sent
    _tagger = tagger
    with stream:
        if sessions:
            _answer_sessions(stream, tagger)
        else:
            _answer(stream)


def _answer_sessions(stream: BinaryIO, tagger: OfflineTagger) -> None:
    """Answers sessions in order; a line that is none is told of with its number, and answered with the reason."""
    from decnet.ttp.offline_sessions import tag_session

    bad = 0
    for number, line in enumerate(_lines(stream), start=1):
        try:
            session = json.loads(line)
            answer = tag_session(tagger, session if isinstance(session, dict) else {})
        except (ValueError, RecursionError) as error:
            bad += 1
            answer = {"line": number, "error": visible(error, 200)}
            typer.echo(f"line {number}: no session: {visible(error, 200)}", err=True)
        sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
    if bad:
        raise typer.Exit(1)


def _answers(lines: bytes) -> str:
    """The output for some lines; the tagger is the process's own, inherited by its children.

    Bytes: what only hands them on need not look at each line.
    """
    assert _tagger is not None
    answer = _tagger.answer
    return "".join([answer(line.decode("utf-8", "replace")) + "\n" for line in lines.split(b"\n")])


def _answer(stream: BinaryIO) -> None:
    """Answers a short input here, a long one with every processor of the machine, in order."""
    chunks = _chunks(stream)
    worked = 0.0
    for chunk in chunks:
        if worked > _ALONE_S:
            _answer_together(chain([chunk], chunks), stream)
            break
        began = time.perf_counter()
        sys.stdout.write(_answers(chunk))
        sys.stdout.flush()
        worked += time.perf_counter() - began  # waiting for lines is no work


def _answer_together(chunks: Iterator[bytes], stream: BinaryIO) -> None:
    """Events are judged here, in order: windows and sequences remember what came before; commands have no past.

    Nothing is held back while the next line is waited for: somebody may follow a log.
    """
    from multiprocessing import get_context  # here: a short input needs no other process

    cores = len(os.sched_getaffinity(0))
    waiting: deque[Callable[[], str]] = deque()
    with get_context("fork").Pool(cores) as pool:
        for chunk in chunks:
            if _EVENT_MARK in chunk:
                waiting.append(partial(str, _answers(chunk)))
            else:
                waiting.append(pool.apply_async(_answers, (chunk,)).get)
            held = cores * 2 if select([stream], [], [], 0)[0] else 0
            while len(waiting) > held:
                sys.stdout.write(waiting.popleft()())
            if not held:
                sys.stdout.flush()
        while waiting:
            sys.stdout.write(waiting.popleft()())
    sys.stdout.flush()


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    """Whole lines as they come, several at once, without the end of the last one."""
    parts: list[bytes] = []
    while data := cast("BufferedReader", stream).read1(_READ_BYTES):
        whole, newline, rest = data.rpartition(b"\n")
        if newline:
            yield b"".join((*parts, whole))
            parts = []
        if rest:
            parts.append(rest)
    if parts:
        yield b"".join(parts)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(tag)
