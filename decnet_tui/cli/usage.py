"""Wrong usage as one clear line: what is wrong, and which ``--help`` says how it is right."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import typer

from decnet.hostile import visible

UsageError: Any = typer.BadParameter.__mro__[1]
"""Typer brings it along under a private name, or from click, depending on its version."""


@contextmanager
def one_line() -> Iterator[None]:
    """Usage errors that pass show themselves as one line; one that shows help keeps doing so."""
    try:
        yield
    except UsageError as error:
        if type(error).show is UsageError.show:
            error.show = partial(_show, error)
        raise


def _show(error: Any, file: object = None) -> None:
    typer.echo(line(error), err=True)


def line(error: Any) -> str:
    """The line for a usage error."""
    said = visible(error.format_message().replace("Value error, ", ""), 400).rstrip(".")
    command = error.ctx.command_path if error.ctx is not None else "decnet-tui"
    return f"error: {said}{' ' if said.endswith('?') else '; '}try '{command} --help'"
