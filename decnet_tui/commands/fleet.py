"""Commands on the fleet: rotate a decoy, set how often it rotates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from decnet_tui.actions.fleet import IntervalForm, RotationForm
from decnet_tui.commands import shown
from decnet_tui.commands.base import Command
from decnet_tui.model.keys import key
from decnet_tui.model.words import span
from decnet_tui.screens.fleet import DeckyLine, FleetView

if TYPE_CHECKING:
    from decnet_tui.commands.context import Context

_AWAKE = ("ok", "degraded")


def _names(console: Context) -> list[str]:
    return console.view_of(FleetView).names()


def _decky(console: Context, text: str) -> DeckyLine | None:
    view = console.view_of(FleetView)
    row = view.decoy(text.split(maxsplit=1)[0]) if text.strip() else shown.decoy(console)
    if row is None:
        console.say(
            f"no decoy {text.split(maxsplit=1)[0]}" if text.strip() else "there is no decoy under the cursor",
            bad=True,
        )
    return row


def _mutator(console: Context) -> str:
    """The state of the worker that rotates."""
    worker = console.feed.workers.get("mutator")
    return worker.status(console.now(), console.feed.heartbeat_s) if worker is not None else "unknown"


def mutate(console: Context, text: str) -> None:
    """The form for a rotation; refused at once when the mutator cannot answer."""
    if not console.desk.once_loaded(console.view_of(FleetView), lambda: mutate(console, text)):
        return
    row = _decky(console, text)
    if row is None:
        return
    worker, status = console.feed.workers.get("mutator"), _mutator(console)
    if worker is None or status not in _AWAKE:
        console.say(
            f"the mutator is {status}: nobody would rotate {row['name']} (view {key('view.workers')})",
            bad=True,
        )
        return
    console.propose(
        RotationForm(row, span(worker.age(console.now())), console.settings.mutator.apply_timeout_s)
    )


def interval(console: Context, text: str) -> None:
    """The form for how often a decky rotates."""
    if not console.desk.once_loaded(console.view_of(FleetView), lambda: interval(console, text)):
        return
    row = _decky(console, text)
    if row is None:
        return
    form = IntervalForm(row, console.settings)
    if every := " ".join(text.split()[1:]):
        form.set("every", every)
    console.propose(form)


def _on_decoy(console: Context) -> bool:
    return console.view_of(FleetView).decoy_here is not None


COMMANDS = (
    Command("decky.mutate", "rotate the decoy", "Changes", mutate, keys="M", foot="mutate", views=("fleet",),
            name="mutate", argument="NAME", complete=_names, changes=True,
            here=lambda console: _on_decoy(console) and _mutator(console) in _AWAKE),
    Command("decky.interval", "how often the decoy rotates", "Changes", interval, keys="I", foot="interval",
            views=("fleet",), name="interval", argument="NAME [12h]", complete=_names, changes=True, here=_on_decoy),
)  # fmt: skip
