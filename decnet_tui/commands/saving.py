"""Commands that keep views: their filter, sorting and columns under a name; and the theme."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from decnet.hostile import visible
from decnet_tui.commands.base import Command
from decnet_tui.model.filters import FilterError
from decnet_tui.model.saved import Kept, Saved
from decnet_tui.screens.base import View
from decnet_tui.screens.levels import LevelsView
from decnet_tui.screens.table import TableView
from decnet_tui.widgets.themes import THEMES

if TYPE_CHECKING:
    from decnet_tui.commands.context import Context


def kept_of(console: Context) -> Kept:
    """What the operator keeps."""
    return Kept(console.settings.data_dir, console.session.operator, console.settings.console.saved)


def table_of(view: View) -> TableView[Any] | None:
    """The table that a view shows, if it shows one."""
    found = view.table() if isinstance(view, LevelsView) else view
    return found if isinstance(found, TableView) else None


def _named(view: View, table: TableView[Any]) -> str:
    return f"{view.name}/{table.unit}"


def lay_out(console: Context, view: View) -> None:
    """Gives a table the columns that the operator last chose for it, once; what it does not have any more is left out."""
    table = table_of(view)
    if table is None or table.laid_out:
        return
    table.laid_out = True
    known = {column.id for column in table.columns}
    wanted = [name for name in kept_of(console).columns(_named(view, table)) if name in known]
    if wanted:
        table.choose_columns(wanted)


def keep_columns(console: Context, table: TableView[Any]) -> None:
    """Remembers the columns that are shown, for the next run too; without a place for that they are this run's."""
    shown = [column.id for column in table.columns if column.id not in table.hidden_columns]
    try:
        kept_of(console).keep_columns(_named(console.view, table), shown)
    except OSError as error:
        console.say(f"the columns are not kept: {error.strerror}", bad=True)


def save(console: Context, text: str) -> None:
    """Keeps the view that is open under a name."""
    view, name = console.view, text.strip()
    if view.opened or view.name not in {v.name for v in console.views.values() if v.key}:
        console.say("a view is saved at its first level, not what is open inside it", bad=True)
        return
    table = table_of(view)
    sort = f"{'-' if table.descending else ''}{table.sort_by}" if table is not None and table.sort_by else ""
    columns = (
        [c.id for c in table.columns if c.id not in table.hidden_columns]
        if table is not None and table.hidden_columns
        else []
    )
    try:
        kept_of(console).save(name, Saved(view.name, view.filter_text, sort, columns))
    except ValueError as error:
        console.say(str(error), bad=True)
    except OSError as error:
        console.say(f"not saved: {error.strerror}", bad=True)
    else:
        console.say(f"{view.title} is saved as {name}; :load {name} shows it again", good=True)


def load(console: Context, text: str) -> None:
    """Shows a saved view; without a name it says which there are."""
    name, kept = text.strip(), kept_of(console)
    if not name:
        console.say(
            f"saved: {' '.join(kept.names()) or 'nothing yet; save NAME keeps the view that is open'}"
        )
        return
    try:
        if (saved := kept.load(name)) is not None:
            show(console, saved)
        else:
            known = " ".join(kept.names()) or "none"
            console.say(f"nothing is saved as {visible(name, 40)}; there are {known}", bad=True)
    except ValueError as error:  # a filter that cannot be meant is one too
        console.say(str(error), bad=True)
    console.repaint()


def show(console: Context, saved: Saved) -> None:
    """The view as it was saved. Raises ValueError for a view, column or filter that there is not."""
    view = console.views.get(saved.view)
    if view is None or not view.key:
        raise ValueError(f"no view is called {saved.view}")
    view.home()
    console.show_view(saved.view)
    table = table_of(view)
    if table is not None:
        table.choose_columns(saved.columns or [c.id for c in table.columns])
        table.order_by(saved.sort.removeprefix("-"), descending=saved.sort.startswith("-"))
    elif saved.columns or saved.sort:
        raise FilterError(f"{saved.view} is no table: it has neither columns nor an order")
    view.set_filter(saved.filter)


def forget(console: Context, text: str) -> None:
    """Takes a saved view away."""
    name = text.strip()
    try:
        gone = kept_of(console).forget(name)
    except OSError as error:
        console.say(f"not forgotten: {error.strerror}", bad=True)
        return
    console.say(
        f"{name} is forgotten" if gone else f"nothing of your own is saved as {visible(name, 40)}",
        bad=not gone,
    )


def theme(console: Context, text: str) -> None:
    """Another theme for this run; ``console.theme`` is that of every run."""
    name = text.strip().lower()
    if name not in THEMES:
        console.say(f"themes: {' '.join(THEMES)}", bad=bool(name))
        return
    console.use_theme(name)
    console.say(f"theme {name}; the setting console.theme keeps it")


def _saved(console: Context) -> list[str]:
    return kept_of(console).names()


def _themes(_: Context) -> list[str]:
    return list(THEMES)


COMMANDS = (
    Command("view.save", "keep this view with its filter, sorting and columns", "Views", save, name="save", argument="NAME"),
    Command("view.load", "show a saved view", "Views", load, name="load", argument="[NAME]", complete=_saved),
    Command("view.forget", "forget a saved view", "Views", forget, name="forget", argument="NAME", complete=_saved),
    Command("theme", "colours: the terminal's own, dark, light, of high contrast, or none", "Views", theme,
            argument="NAME", complete=_themes),
)  # fmt: skip
