"""The reference of the settings, from the models of decnet/config.py and the line under each field."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from decnet.config import Settings
from decnet.section import is_section
from tests.docs.tables import anchor, table

_HEAD = """# Settings

Every setting, with its default and its bounds. A flag of the command line goes before a variable of the environment, that before
the file that `--config` names (YAML), that before the default. In a file a section is a mapping; as a variable a name is
`DECNET_`, the sections and the setting in capitals, joined by two underscores (`DECNET_SENSOR__IDLE_SESSION_S=600`); lists and
whole sections in a variable are JSON. Unknown and doubled keys are errors with their place. Durations ending in `_s` are seconds.

"""


def page() -> str:
    """What stands at the top, then every section."""
    sections = list(_sections(Settings, ""))
    listed = "".join(f"* [{name}](#{anchor(name)}): {_first(model)}\n" for name, model in sections)
    top = _table(Settings, "")
    return (
        _HEAD
        + "## At the top\n\n"
        + top
        + "## Sections\n\n"
        + listed
        + "\n"
        + "".join(_section(n, m) for n, m in sections)
    )


def _sections(model: type[BaseModel], path: str) -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in model.model_fields.items():
        kind = _section_of(field.annotation)
        if kind is not None:
            yield f"{path}{name}", kind
            yield from _sections(kind, f"{path}{name}.")


def _section_of(kind: Any) -> type[BaseModel] | None:
    """The section that a setting is, or that its elements are."""
    for one in (kind, *get_args(kind)):
        if is_section(one):
            return one  # type: ignore[no-any-return]
    return None


def _section(name: str, model: type[BaseModel]) -> str:
    more = (inspect.getdoc(model) or "").strip().replace("``", "`")
    return f"## {name}\n\n{more}\n\n{_table(model, f'{name}.')}"


def _first(model: type[BaseModel]) -> str:
    return (inspect.getdoc(model) or "").split("\n")[0].replace("``", "`")


def _table(model: type[BaseModel], path: str) -> str:
    lines = _lines(model)
    rows = (
        (f"`{path}{name}`", _kind(field), f"`{_default(field)}`", lines.get(name, ""))
        for name, field in model.model_fields.items()
        if not is_section(field.annotation)
    )
    return table(("setting", "type", "default", "what"), rows)


def _lines(model: type[BaseModel]) -> Mapping[str, str]:
    """Field → the text under it, of a model and of those that it extends."""
    out: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        if not issubclass(kind, BaseModel) or kind is BaseModel:
            continue
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
        assert isinstance(body, ast.ClassDef)
        for statement, following in zip(body.body, body.body[1:], strict=False):
            named = isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
            told = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            if named and told and isinstance(following.value.value, str):  # type: ignore[attr-defined]
                out[statement.target.id] = following.value.value  # type: ignore[attr-defined]
    return out


def _kind(field: FieldInfo) -> str:
    bounds = []
    for one in field.metadata:
        for name, words in (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below")):
            if (value := getattr(one, name, None)) is not None:
                bounds.append(f"{words} {value:g}" if isinstance(value, float) else f"{words} {value}")
    return ", ".join([_named(field.annotation), *bounds])


def _named(kind: Any) -> str:
    args = [one for one in get_args(kind) if one is not type(None) and one is not Ellipsis]
    origin = get_origin(kind)
    if origin is Literal:
        return " or ".join(map(str, args))
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(map(_named, args)))
    if origin in (tuple, list, frozenset):
        return f"list of {_named(args[0]) if args else 'anything'}"
    if origin is dict or origin is Mapping:
        return "mapping"
    names = {
        "str": "text",
        "int": "whole number",
        "float": "number",
        "bool": "true or false",
        "SecretStr": "secret",
    }
    name = getattr(kind, "__name__", str(kind))
    return "mapping" if is_section(kind) else names.get(name, name.lower())


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "(needed)"
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, Path):
        return _path(value)
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(str(getattr(one, "name", one)) for one in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {one}" for key, one in value.items()) + "}"
    if value is None or isinstance(value, bool):
        return "none" if value is None else str(value).lower()
    return str(value)


def _path(path: Path) -> str:
    """A default path without the home of whoever makes the page."""
    names = {"data_dir": "~/.local/state/decnet-tui", "rules": "(the shipped rules)"}
    return names.get("rules" if path.name == "ttp" else "data_dir", str(path))
