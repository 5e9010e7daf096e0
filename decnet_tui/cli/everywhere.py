"""What every command has, whatever its own module says: ``--bus`` and ``--db`` beside ``--data-dir``, and examples in its help."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

import typer
from typer.main import get_command_name

from decnet_tui.cli import common
from decnet_tui.cli.examples import EXAMPLES

_SHARED = {"db": common.DbUrl, "bus": common.BusUrl}


def complete(part: typer.Typer, path: str = "") -> None:
    """Adds what is missing to the commands of one module, and of the groups in it; ``path`` is the group's name."""
    for info in part.registered_commands:
        if info.callback is None:
            continue
        name = info.name or get_command_name(info.callback.__name__)
        whole = f"{path} {name}".strip()
        info.callback = _with_shared(info.callback)
        info.epilog = examples_text(whole) or info.epilog
    for group in part.registered_groups:
        if (inner := group.typer_instance) is not None:
            whole = f"{path} {_named(group.name) or _named(inner.info.name)}".strip()
            group.epilog = examples_text(whole)
            if inner.registered_callback is not None and inner.registered_callback.callback is not None:
                inner.registered_callback.callback = _with_shared(inner.registered_callback.callback)
            complete(inner, whole)


def _named(name: Any) -> str:
    """A name that was given; Typer has a placeholder for one that was not."""
    return name if isinstance(name, str) else ""


def examples_text(command: str) -> str | None:
    """The examples of a command as its help shows them."""
    found = EXAMPLES.get(command, ())
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in found) if found else None


def _with_shared(callback: Callable[..., Any]) -> Callable[..., Any]:
    """The command with the options that stand wherever --data-dir does; the settings that it loads then have them."""
    if getattr(callback, "has_shared", False):
        return callback
    signature = inspect.signature(callback, eval_str=True)
    missing = [name for name in _SHARED if name not in signature.parameters]
    if "data_dir" not in signature.parameters or not missing:
        return callback

    @wraps(callback)
    def command(**given: Any) -> Any:
        common.GIVEN.update({name: given.pop(name) for name in missing})
        try:
            return callback(**given)
        finally:
            common.GIVEN.clear()

    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_SHARED[name])
        for name in missing
    ]
    command.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *more])  # type: ignore[attr-defined]
    command.has_shared = True  # type: ignore[attr-defined]
    return command
