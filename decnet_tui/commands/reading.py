"""Commands that read: pause, tail, detail, time format, copy, export."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from decnet.home import home_dir
from decnet.hostile import ELLIPSIS
from decnet_tui.commands.base import Command
from decnet_tui.model import export
from decnet_tui.model.keys import key
from decnet_tui.model.words import counted
from decnet_tui.screens.base import TIME_FORMATS
from decnet_tui.screens.levels import Level
from decnet_tui.screens.traffic import TrafficView
from decnet_tui.widgets.prompt import Question

if TYPE_CHECKING:
    from decnet_tui.commands.context import Context


def _on_row(console: Context) -> bool:
    return console.view.on_row


def pause(console: Context, _: str) -> None:
    """Holds the view still, or lets it go on."""
    paused = console.view.pause()
    console.say(
        f"paused: still receiving; {key('pause')} goes on, {key('filter')} filters what is held"
        if paused
        else ""
    )
    console.repaint()


def tail(console: Context, _: str) -> None:
    """Stays at the newest event, or stops doing so."""
    console.view_of(TrafficView).toggle_tail()
    console.repaint()


def noise(console: Context, _: str) -> None:
    """Traffic: hides what is derived from sessions and the engine's own news, or shows it."""
    hidden = console.view_of(TrafficView).turn_noise()
    console.say(
        "hidden: observations, profiles, rules that fired, the engine's own"
        if hidden
        else "everything is shown"
    )
    console.repaint()


def open_detail(console: Context, _: str) -> None:
    """What the view opens for the line; the detail pane, with the keys in it, unless it knows better."""
    if not _on_row(console):
        return
    if console.view.unfold():
        console.repaint()
        return
    inside, place = console.view.below(), console.view.leads_to()
    if isinstance(inside, Level):
        console.enter(inside)
    elif place is not None:
        console.open_in(place.view, place.key)
    else:
        console.panes.open_detail()
        console.repaint_soon()


def detail(console: Context, _: str) -> None:
    """The detail pane on or off."""
    console.panes.toggle_detail()
    console.repaint_soon()


def zoom(console: Context, _: str) -> None:
    """The pane with the keys alone, or both again; in a list that folds, its rows unfolded or folded."""
    said = None if console.panes.in_detail else console.view.fold()
    if said is None:
        console.panes.zoom()
        console.repaint_soon()
    else:
        console.say(said)
        console.repaint()


def time_format(console: Context, _: str) -> None:
    """The next time format, in all views."""
    at = TIME_FORMATS.index(console.view.time_format)
    for view in console.views.values():
        view.time_format = TIME_FORMATS[(at + 1) % len(TIME_FORMATS)]
    console.say(f"times: {console.view.time_format}")
    console.repaint()


def copy(console: Context, _: str) -> None:
    """What the cursor is on, or the whole detail while that has the keys, to the terminal's clipboard."""
    text = "\n".join(console.view.detail()) if console.panes.in_detail else console.view.copy_text()
    if not text:
        console.say("there is nothing to copy here")
        return
    console.say(console.copy(text))


def export_shown(console: Context, text: str) -> None:
    """Writes what is shown to a file of mode 0600 and says which; asks for the format where none is named."""
    by_letter = {how[0]: how for how in export.FORMATS}

    def done(accepted: bool, typed: str) -> None:
        if accepted:
            _export_as(console, by_letter[typed])
        else:
            console.say("nothing exported")

    if not text.strip():
        label = f"export {console.view.title} as: c CSV  j JSON lines  t text  (anything else cancels) "
        console.ask(Question(label, done, confirm=True, answers="".join(by_letter)))
    elif (how := next((f for f in export.FORMATS if f == text.strip().lower()), None)) is not None:
        _export_as(console, how)
    else:
        console.say(f"exported as {', '.join(export.FORMATS)}; not as {text.strip()}", bad=True)


def _formats(_: Context) -> list[str]:
    return list(export.FORMATS)


def _export_as(console: Context, how: export.Format) -> None:
    console.work(partial(_export, console, how), "export", instead=True)


async def _export(console: Context, how: export.Format) -> None:
    try:
        path, count = await export.write(console.settings.data_dir, console.view.to_export(), how)
    except OSError as error:
        console.say(f"not exported: {error.strerror}: {error.filename}", bad=True)
    else:
        head = f"exported {counted(count, 'line')} to "
        console.say(head + short_path(path, console.panes.width - len(head) - 1), good=True)


def short_path(path: Path, room: int) -> str:
    """A path in at most ``room`` characters: ``~`` for home, else its end, which names the file."""
    text = str(path)
    home = home_dir()
    if home is not None and text.startswith(f"{home}/"):
        text = "~" + text.removeprefix(str(home))
    return text if len(text) <= room else ELLIPSIS + text[len(text) - room + 1 :]


COMMANDS = (
    Command("pause", "pause: keeps receiving, the view does not move", "Reading", pause, keys="p", foot="pause",
            here=lambda console: console.view.stored or console.view is console.view_of(TrafficView)),
    Command("tail", "tail: stay at the newest line", "Reading", tail, keys="f", foot="tail", views=("traffic",)),
    Command("noise", "hide or show what is derived: observations, profiles, rules that fired, heartbeats", "Reading", noise,
            keys="n", views=("traffic",)),
    Command("open", "open the line", "Reading", open_detail, keys="enter", foot="open", here=_on_row),
    Command("detail", "detail pane on or off", "Reading", detail, keys="v"),
    Command("zoom", "this pane alone; in Traffic one line a session, or one an event", "Reading", zoom, keys="z"),
    Command("time", "time format: clock, date, age", "Reading", time_format, keys="t"),
    Command("copy", "copy what the cursor is on, or the marked lines (OSC 52, and tmux's buffer)", "Reading", copy,
            keys="y", foot="copy", here=_on_row),
    Command("export", "export what is shown to a private file: CSV, JSON or text", "Reading", export_shown, keys="e",
            foot="export", argument="[csv, json or text]", complete=_formats,
            here=lambda console: console.view.filtered and console.view.count() > 0),
)  # fmt: skip
