"""Commands that read: pause, tail, detail, time format, copy, export."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from decnet.hostile import ELLIPSIS
from decnet_tui.commands.base import Command
from decnet_tui.model import export
from decnet_tui.screens.base import TIME_FORMATS
from decnet_tui.widgets import clipboard

if TYPE_CHECKING:
    from decnet_tui.app import DecnetApp


def pause(app: DecnetApp, _: str) -> None:
    """Holds the view still, or lets it go on."""
    paused = app.view.pause()
    app.say("paused: still receiving; p goes on, / filters what is held" if paused else "")
    app.repaint()


def tail(app: DecnetApp, _: str) -> None:
    """Stays at the newest event, or stops doing so."""
    app.traffic.toggle_tail()
    app.repaint()


def open_detail(app: DecnetApp, _: str) -> None:
    """What the view opens for the line; the detail pane, with the keys in it, unless it knows better."""
    if app.view.name == "help" or app.view.open(app):
        return
    app.screen.add_class("detailed")
    app.detail.focus()
    app.repaint_soon()


def detail(app: DecnetApp, _: str) -> None:
    """The detail pane on or off."""
    app.screen.toggle_class("detailed")
    app.pane.focus()
    app.repaint_soon()


def zoom(app: DecnetApp, _: str) -> None:
    """The pane with the keys alone, or both again."""
    app.screen.toggle_class("zoomed")
    app.screen.set_class(app.detail.has_focus, "zoom-detail")
    app.repaint_soon()


def time_format(app: DecnetApp, _: str) -> None:
    """The next time format, in all views."""
    at = TIME_FORMATS.index(app.view.time_format)
    for view in app.views.values():
        view.time_format = TIME_FORMATS[(at + 1) % len(TIME_FORMATS)]
    app.say(f"times: {app.view.time_format}")
    app.repaint()


def copy(app: DecnetApp, _: str) -> None:
    """The data of the line under the cursor, to the terminal's clipboard."""
    text = app.view.copy_text()
    if not text:
        app.say("there is nothing to copy here")
        return
    taken = clipboard.copy(app, text)
    app.say(f"copied {taken} characters (if the terminal allows OSC 52)")


def export_shown(app: DecnetApp, _: str) -> None:
    """Writes what is shown to a file of mode 0600 and says which."""
    app.run_worker(partial(_export, app), name="export", group="export", exclusive=True)  # type: ignore[arg-type]


async def _export(app: DecnetApp) -> None:
    try:
        path, count = await export.write(app.settings.data_dir, app.view.name, app.view.records())
    except OSError as error:
        app.say(f"not exported: {error.strerror}: {error.filename}", bad=True)
    else:
        head = f"exported {count} line{'s' * (count != 1)} to "
        app.say(head + short_path(path, app.size.width - len(head) - 1), good=True)


def short_path(path: Path, room: int) -> str:
    """A path in at most ``room`` characters: ``~`` for home, else its end, which names the file."""
    text = str(path)
    home = str(Path.home())
    if text.startswith(home + "/"):
        text = "~" + text.removeprefix(home)
    return text if len(text) <= room else ELLIPSIS + text[len(text) - room + 1 :]


COMMANDS = (
    Command("pause", "pause: keeps receiving, the view does not move", "Reading", pause, keys="p", foot="pause"),
    Command("tail", "tail: stay at the newest line", "Reading", tail, keys="f", foot="tail", views=("traffic",)),
    Command("open", "open the line", "Reading", open_detail, keys="enter", foot="open"),
    Command("detail", "detail pane on or off", "Reading", detail, keys="v"),
    Command("zoom", "this pane alone", "Reading", zoom, keys="z"),
    Command("time", "time format: clock, date, age", "Reading", time_format, keys="t"),
    Command("copy", "copy the line's data, or the marked lines (OSC 52)", "Reading", copy,
            keys="y", foot="copy"),
    Command("export", "export what is shown to a private file", "Reading", export_shown, keys="e", foot="export"),
)  # fmt: skip
