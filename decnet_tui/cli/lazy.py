"""Commands by name, each loaded when it is asked for: `tag` need not wait for a database library.

A module of this package that gives commands has ``register(app)``; its names stand in the table below.
"""

from __future__ import annotations

from importlib import import_module

import typer
from typer.core import TyperGroup
from typer.main import get_command_name, get_group
from typer.models import CommandInfo

from decnet_tui.cli.everywhere import complete
from decnet_tui.cli.sure import spare

MODULES: dict[str, tuple[str, ...]] = {
    "tagging": ("tag",),
    "rules": ("rules",),
    "lists": ("tags", "sessions", "playbooks", "attackers"),
    "workers": ("workers",),
    "status": ("status",),
    "session": ("session",),
    "attacker": ("attacker",),
    "credentials": ("credentials",),
    "summary": ("summary",),
    "iocs": ("iocs",),
    "stats": ("stats",),
    "sensors": ("sensors",),
    "deadletters": ("deadletters",),
    "worker": ("worker",),
    "identities": ("identities", "identity"),
    "campaigns": ("campaigns", "campaign"),
    "attribution": ("attribution", "alerts"),
    "stream": ("watch", "replay"),
    "fleet": ("fleet",),
    "canary": ("canary",),
    "export": ("export",),
    "report": ("report",),
    "samples": ("samples",),
    "blocklist": ("blocklist",),
    "saving": ("backup", "restore"),
    "find": ("find",),
    "ignore": ("ignore",),
    "intel": ("intel",),
    "backfill": ("backfill",),
    "purge": ("purge",),
    "unit": ("unit",),
    "busconfig": ("bus",),
    "doctor": ("doctor",),
    "schema": ("schema",),
    "completion": ("completion",),
    "bench": ("bench",),
    "screenshots": ("screenshots",),
}
"""Module to the commands that it registers, in the order of ``--help``."""

LISTS = frozenset(
    ("tags", "sessions", "playbooks", "attackers", "identities", "campaigns", "attribution", "alerts", "workers",
     "credentials", "sensors", "deadletters")
)  # fmt: skip
"""Lists by their bare name: ``NAME list`` is the same. (Those that have a command called list need nothing.)"""
_MODULE_OF = {name: module for module, names in MODULES.items() for name in names}


class LazyGroup(TyperGroup):
    """The commands of :data:`MODULES`."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Every name, loaded or not."""
        return list(_MODULE_OF)

    def resolve_command(self, ctx: typer.Context, args: list[str]):  # type: ignore[no-untyped-def,override]
        """The command and what is left for it: behind the name of a list the word ``list`` says nothing."""
        if args[:1] and args[0] in LISTS and args[1:2] == ["list"]:
            args = [args[0], *args[2:]]
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: typer.Context, cmd_name: str):  # type: ignore[no-untyped-def,override]
        """The command, loaded with its module; None for an unknown name."""
        module = _MODULE_OF.get(cmd_name)
        if module is None:
            return None
        if cmd_name not in self.commands:
            part = typer.Typer(rich_markup_mode=None)
            import_module(f"decnet_tui.cli.{module}").register(part)
            _only(part, cmd_name)
            complete(part)
            self.commands.update(get_group(part).commands)
            spare(self.commands[cmd_name])
        return self.commands.get(cmd_name)


def _only(part: typer.Typer, name: str) -> None:
    """Leaves the command of that name alone, where it is one: what is beside it need not be made."""
    named = [one for one in part.registered_commands if _name_of(one) == name]
    if named:
        part.registered_commands, part.registered_groups = named, []


def _name_of(command: CommandInfo) -> str:
    """The name under which Typer makes a command."""
    return command.name or get_command_name(getattr(command.callback, "__name__", ""))
