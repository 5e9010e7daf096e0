"""Commands on the fleet: rotate a decky, set how often it rotates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from decnet_tui.actions.fleet import IntervalForm, RotationForm
from decnet_tui.commands.base import Command
from decnet_tui.model.words import span
from decnet_tui.screens.fleet import DeckyLine, FleetView

if TYPE_CHECKING:
    from decnet_tui.app import DecnetApp

_AWAKE = ("ok", "degraded")


def _names(app: DecnetApp) -> list[str]:
    return [str(row["name"]) for row in app.view_of(FleetView).rows]


def _decky(app: DecnetApp, text: str) -> DeckyLine | None:
    view = app.view_of(FleetView)
    row = view.find(text.split(maxsplit=1)[0]) if text.strip() else view.current
    if row is None:
        app.say(
            f"no decky {text.split(maxsplit=1)[0]}" if text.strip() else "there is no decky under the cursor",
            bad=True,
        )
    return row


def mutate(app: DecnetApp, text: str) -> None:
    """The form for a rotation; refused at once when the mutator cannot answer."""
    row = _decky(app, text)
    if row is None:
        return
    worker = app.feed.workers.get("mutator")
    status = worker.status(app.now(), app.feed.heartbeat_s) if worker is not None else "unknown"
    if worker is None or status not in _AWAKE:
        app.say(f"the mutator is {status}: nobody would rotate {row['name']} (view 6)", bad=True)
        return
    app.propose(RotationForm(row, span(worker.age(app.now())), app.settings.mutator.apply_timeout_s))


def interval(app: DecnetApp, text: str) -> None:
    """The form for how often a decky rotates."""
    row = _decky(app, text)
    if row is None:
        return
    form = IntervalForm(row, app.settings)
    if every := " ".join(text.split()[1:]):
        form.set("every", every)
    app.propose(form)


COMMANDS = (
    Command("decky.mutate", "rotate the decky", "Changes", mutate, keys="M", foot="mutate", views=("fleet",),
            name="mutate", argument="NAME", complete=_names, changes=True),
    Command("decky.interval", "how often the decky rotates", "Changes", interval, keys="I", foot="interval",
            views=("fleet",), name="interval", argument="NAME [12h]", complete=_names, changes=True),
)  # fmt: skip
