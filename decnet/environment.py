"""Settings that the environment says: ``DECNET_NAME``, nested by ``__``; an empty one says nothing."""

from __future__ import annotations

import os
import re
from typing import Any

from pydantic import BaseModel
from pydantic_settings import EnvSettingsSource, SettingsError

from decnet.errors import ConfigError
from decnet.home import ENV_PREFIX
from decnet.section import is_section

_NESTED = re.compile(rf"{ENV_PREFIX}([A-Z0-9]+(?:_[A-Z0-9]+)*)__\w")


def values_of(settings: type[BaseModel]) -> dict[str, Any]:
    """What the environment says of these settings, not yet checked; a section is a dict.

    Raises ConfigError for a variable that cannot be read, or that names no section: it would be passed over in silence.
    """
    _check_names(settings)
    source = EnvSettingsSource(
        settings,  # type: ignore[arg-type]  # it asks for the fields of a model only
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
    )
    try:
        return source()
    except SettingsError as error:
        raise ConfigError(_unreadable_variable(settings, error)) from error


def _check_names(settings: type[BaseModel]) -> None:
    known = settings.model_fields
    wrong = sorted(
        name
        for name in os.environ
        if (nested := _NESTED.match(name.upper())) is not None and nested[1].lower() not in known
    )
    if wrong:
        sections = ", ".join(name for name, info in known.items() if is_section(info.annotation))
        raise ConfigError(
            "\n".join(f"{name}: no such section of settings; known: {sections}" for name in wrong)
        )


def _unreadable_variable(settings: type[BaseModel], error: SettingsError) -> str:
    """The variable whose text is not the JSON that its setting needs."""
    named = re.search(r'field "(\w+)"', str(error))
    field = named[1] if named else ""
    name = f"{ENV_PREFIX}{field.upper()}"
    if field == "sensors":
        return f'{name}: write it as JSON: [{{"kind": "cowrie", "path": "/path/cowrie.json"}}]'
    if field in settings.model_fields and is_section(settings.model_fields[field].annotation):
        return f"{name}: a section takes a JSON object, or set one of its settings by {name}__NAME"
    return f"{name}: write it as JSON"
