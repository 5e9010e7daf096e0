"""``tag``: offline, one answer for each input line; needs no engine."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from decnet.errors import DecnetError
from decnet_tui.cli import common

_CHUNK = 1000
"""Lines answered in one write: steady output for pipes without a system call a line."""


def _lines(stream: BinaryIO) -> Iterator[str]:
    """Lines without their end; only ``\\n`` ends a line, bad UTF-8 is replaced."""
    for raw in stream:
        yield raw.rstrip(b"\n").decode("utf-8", "replace")


def tag(
    source: Annotated[
        str, typer.Argument(metavar="[FILE or -]", help="Commands or TaggerEvents, one a line.")
    ] = "-",
    rules: common.RulesDir = None,
    config: common.ConfigFile = None,
    data_dir: common.DataDir = None,
    db: common.DbUrl = None,
    _: common.AsJson = False,
) -> None:
    """Tags commands offline: one JSON line out for each line in."""
    from decnet.ttp.offline import OfflineTagger

    settings = common.settings_of(config, rules=rules, data_dir=data_dir, db=db)
    try:
        tagger = OfflineTagger(settings.rules)
    except DecnetError as error:
        common.fail(str(error))
    for problem in tagger.errors:
        typer.echo(f"warning: {problem}", err=True)
    try:
        stream = sys.stdin.buffer if source == "-" else Path(source).open("rb")
    except OSError as error:
        common.fail(f"{source}: cannot be read: {error.strerror}")
    with stream:
        _answer(tagger.tag_line, stream)


def _answer(tag_line: object, stream: BinaryIO) -> None:
    out, encode = [], json.JSONEncoder(ensure_ascii=True).encode
    for line in _lines(stream):
        out.append(encode({"input": line, "tags": tag_line(line)}))  # type: ignore[operator]
        if len(out) >= _CHUNK:
            sys.stdout.write("\n".join(out) + "\n")
            out.clear()
    if out:
        sys.stdout.write("\n".join(out) + "\n")
    sys.stdout.flush()


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(tag)
