"""The reference of the command line, from the commands themselves: what `--help` says, of all of them."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any

from typer.main import get_command

from decnet_tui.cli.main import app
from tests.docs.tables import anchor, table

_HEAD = """# Commands

`decnet-tui` with no command is the console. Every command takes `--help`; errors go to standard error as one line, exit codes are 0
(done), 1 (failed, or what was asked for is so) and 2 (wrong usage). With `--json` the answer is stable JSON, ASCII only. `NO_COLOR`
is honoured. `--data-dir`, `--config`, `--db` and `--bus` stand before or behind the command. With an engine running on the data
directory a command speaks to it, else it works on the database alone.

"""


def page() -> str:
    """A list, then each command with its arguments, options and examples."""
    found = list(every())
    listed = "".join(f"* [`{name}`](#{anchor(name)}): {_first(command)}\n" for name, command in found)
    return _HEAD + listed + "\n" + "".join(_section(name, command) for name, command in found)


def every() -> Iterator[tuple[str, Any]]:
    """Each command by its whole name, groups by their parts; the program itself first."""
    root = get_command(app)
    yield "decnet-tui", root
    yield from _below(root, "decnet-tui")


def _below(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    context = group.make_context("decnet-tui", [], resilient_parsing=True)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        whole = f"{path} {name}"
        if hasattr(command, "list_commands"):
            if command.invoke_without_command or command.params:
                yield whole, command
            yield from _below(command, whole)
        else:
            yield whole, command


def _first(command: Any) -> str:
    return " ".join((command.help or "").split("\n\n")[0].split())


def _section(name: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not getattr(p, "hidden", False)]
    usage = " ".join([name, *(["[OPTIONS]"] if options else []), *(_metavar(p) for p in arguments)])
    told = (command.help or "").strip()
    parts = [f"## {name}\n\n```\n{usage}\n```\n\n{told}\n\n"]
    parts.append(table(("argument", "what"), ((f"`{_metavar(p)}`", _help(p)) for p in arguments if _help(p))))
    parts.append(table(("option", "what"), ((f"`{_option(p)}`", _help(p)) for p in options)))
    if command.epilog:
        parts.append(f"```sh\n{_examples(command.epilog)}\n```\n\n")
    return "".join(parts)


def _examples(epilog: str) -> str:
    lines = (line.strip() for line in epilog.splitlines())
    return "\n".join(line for line in lines if line.startswith(("decnet-tui", "echo")))


def _metavar(param: Any) -> str:
    return str(param.metavar or param.name.upper())


def _option(param: Any) -> str:
    names = ", ".join(param.opts)
    if param.is_flag:
        return names
    return f"{names} {param.metavar or _type(param)}"


def _type(param: Any) -> str:
    kind = param.type_descriptor.annotation
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "|".join(str(one.value) for one in kind)
    return (
        str(getattr(kind, "__name__", "text"))
        .upper()
        .replace("STR", "TEXT")
        .replace("INT", "N")
        .replace("FLOAT", "N")
    )


def _help(param: Any) -> str:
    told = getattr(param, "help", "") or ""
    default = param.default
    plain = isinstance(default, (str, int, float)) and not isinstance(default, bool) and default != ""
    return (
        f"{told} Default: {getattr(default, 'value', default)}." if plain and "efault" not in told else told
    )
