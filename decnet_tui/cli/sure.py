"""Option values that need no checking library: none, plain text, small numbers, paths that anybody would take.

Typer checks each value with pydantic, which takes longer to load than most commands take as a whole. Whatever is not
surely right goes the usual way, and so does everything with a Typer that keeps its checks elsewhere.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

_NUMBER = re.compile(r"0|[1-9][0-9]{0,8}")
_UNSURE = object()


class _Sure:
    """Stands where Typer looks for what checks a parameter's values."""

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value as the command gets it. Raises BadParameter."""
        several = param.multiple or param.nargs != 1
        found = _nothing(several) if value is None else _UNSURE if several else _sure(value, param)
        if found is _UNSURE:
            param._runtime_param = None
            return param.get_runtime_param().coerce(value, param=param, ctx=ctx)
        return found


def spare(command: Any) -> None:
    """Lets parameters of a command, and of those below it, take what is surely right without loading what checks the rest."""
    if "get_params" in vars(command):
        return
    every = command.get_params

    def get_params(ctx: Any) -> Any:
        params = every(ctx)
        for param in params:
            if getattr(param, "_runtime_param", _UNSURE) is None:
                param._runtime_param = _Sure()
        return params

    command.get_params = get_params
    for below in getattr(command, "commands", {}).values():
        spare(below)


def _nothing(several: bool) -> tuple[()] | None:
    return () if several else None


def _sure(value: Any, param: Any) -> Any:
    """What a value surely is, or that it is not sure."""
    kind, info = param.type_descriptor.annotation, param.type_descriptor.parameter_info
    if info.parser is not None:
        return _UNSURE
    if kind is str and type(value) is str and _is_plain(value):
        return value
    if kind is int:
        return _number(value, info.min, info.max)
    if kind is Path and isinstance(value, (str, Path)) and _is_plain(str(value)) and _asks_nothing(info):
        path = Path(value)
        return path if not os.path.lexists(path) or os.access(path, os.R_OK) else _UNSURE
    return _UNSURE


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _number(value: Any, least: float | None, most: float | None) -> Any:
    text = value if type(value) is str else str(value) if type(value) is int else ""
    if not _NUMBER.fullmatch(text):
        return _UNSURE
    number = int(text)
    inside = (least is None or number >= least) and (most is None or number <= most)
    return number if inside else _UNSURE


def _asks_nothing(info: Any) -> bool:
    """Whether a path may be anything that can be read, or not be there."""
    asks = info.exists or info.writable or info.resolve_path or info.allow_dash or info.path_type is not None
    return bool(info.file_okay and info.dir_okay and not asks)
