"""The console's App: it only wires feed, connection, views, commands and widgets.

One list widget shows whichever view is current; a paced tick lets that view take in what is new and
repaints lines that differ. What a key does lives in ``commands``, what a view shows in ``screens``,
what is asked and sent in ``actions``, when the store is read in ``screens.loading``. Commands know it as a
:class:`~decnet_tui.commands.context.Context` only.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from textual import events
from textual.app import App, ComposeResult
from textual.containers import Container
from textual.screen import Screen
from textual.worker import Worker

from decnet.config import Settings
from decnet.hostile import visible
from decnet.logs import get_logger
from decnet_tui.actions.desk import Desk, Job
from decnet_tui.actions.forms import Form
from decnet_tui.actions.rule_form import RuleForm
from decnet_tui.commands import CHANGES, COMMANDS
from decnet_tui.commands.base import Command
from decnet_tui.commands.beginning import begin
from decnet_tui.commands.following import Following
from decnet_tui.commands.mouse import Mouse
from decnet_tui.commands.saving import lay_out
from decnet_tui.commands.typed import History
from decnet_tui.keymap import Keys
from decnet_tui.model import keys
from decnet_tui.model.access import Session
from decnet_tui.model.connection import Connection
from decnet_tui.model.feed import Feed
from decnet_tui.screens import VIEWS, header
from decnet_tui.screens.actors import ActorsView
from decnet_tui.screens.base import TextView, View, wrapped
from decnet_tui.screens.found import FoundView
from decnet_tui.screens.help import HelpView
from decnet_tui.screens.ignored import IgnoredView
from decnet_tui.screens.levels import Level, LevelsView
from decnet_tui.screens.loading import Loader
from decnet_tui.screens.palette import PaletteView
from decnet_tui.screens.rules import RulesView
from decnet_tui.screens.table import TableView
from decnet_tui.screens.traffic import TrafficView
from decnet_tui.widgets import clipboard, glyphs
from decnet_tui.widgets.form import FormPane
from decnet_tui.widgets.last_words import error_console
from decnet_tui.widgets.line_list import LineList
from decnet_tui.widgets.pacing import Pace
from decnet_tui.widgets.panes import Panes
from decnet_tui.widgets.prompt import Prompt, Question
from decnet_tui.widgets.strips import BAD, FAINT, GOOD, PLAIN, StripWidget, TextLines, use_theme

TICK_S = 0.125
SLOW_TICKS = 4
WIDE, TALL = 120, 40
MESSAGE_S = 5.0
"""Seconds that a message stays at least; afterwards the next key takes it away unless it warns."""
MIN_WIDTH, MIN_HEIGHT = 60, 12
ALL_KEYS = Keys(COMMANDS)
V = TypeVar("V", bound=View)
log = get_logger(__name__)


class Main(Screen[None], inherit_bindings=False):
    """The one screen; it binds no key, since all keys come from the registry."""


class DecnetApp(App[str], inherit_bindings=False):
    """The console over one session. Its result is ``quit`` or ``headless`` (leave the engine running)."""

    CSS_PATH = Path(__file__).with_name("theme.tcss")
    TITLE = "decnet"
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, settings: Settings, *, session: Session, read_only: bool = False) -> None:
        super().__init__(ansi_color=True)
        self.error_console = error_console()
        glyphs.use(settings.console.glyphs, os.environ)
        self.settings, self.session, self.read_only = settings, session, read_only
        self.feed = Feed(settings.console.ring, settings.runtime.heartbeat_s)
        self.connection = Connection(session.bus, self.feed)
        self.loader = Loader(session, self.feed)
        self.desk = Desk(self, settings.console.write_mode_min, read_only=read_only)
        self.write, self.propose = self.desk.write, self.desk.propose
        self.keys = Keys(COMMANDS, settings.console.keymap, CHANGES if read_only else frozenset())
        keys.use(self.keys.names())
        shown: list[View] = [view(self.feed) for view in VIEWS]
        shown += [
            HelpView(self.feed, self.keys.help_lines(), str(settings.data_dir)),
            PaletteView(self.feed, self.keys.offers()),
            FoundView(self.feed),
            IgnoredView(self.feed),
        ]
        self.views: dict[str, View] = {v.name: v for v in shown}
        self.detail_view = TextView(self.feed)
        self.traffic = self.view_of(TrafficView)
        self.view: View = self.traffic
        self.last_view = self.traffic.name
        self.panes: Panes
        self.mouse: Mouse
        self.following, self.history = Following(self), History()
        self._detail_for: object = None
        self.pace = Pace(lambda: clipboard.ask_position(self))
        self._stale = False
        self._fades = 0.0
        self._ticks = 0
        self.touched = 0.0
        """When the last key came (monotonic seconds); 0 before the first."""

    def use_theme(self, name: str) -> None:
        """Paints everything anew in another theme; without colours where the surroundings want none (``NO_COLOR``)."""
        theme = use_theme("none" if self.no_color else name)
        self.screen.styles.background = theme.background or "ansi_default"
        for widget in self.query(StripWidget):
            widget.paint_anew()

    def get_default_screen(self) -> Screen[None]:
        """A screen without bindings of its own."""
        return Main(id="_default")

    def compose(self) -> ComposeResult:
        """The panes, top to bottom."""
        yield TextLines(id="head")
        with Container(id="body"):
            yield LineList(id="list")
            yield LineList(id="detail")
        yield FormPane(id="form")
        yield TextLines(id="rate")
        yield TextLines(id="strip")
        yield TextLines(id="message")
        yield Prompt(id="prompt")
        yield TextLines(id="foot")
        yield TextLines(id="narrow")

    def on_mount(self) -> None:
        """Starts to listen and to paint."""
        self.panes = Panes(
            self.screen, self.query_one("#list", LineList), self.query_one("#detail", LineList)
        )
        self.prompt, self.form = self.query_one(Prompt), self.query_one(FormPane)
        self.mouse = Mouse(self)
        self.mouse.listen(
            self.panes.main, self.panes.detail, self._lines("head"), self.settings.console.mouse
        )
        self.panes.detail.show(self.detail_view)
        self.use_theme(self.settings.console.theme)
        self.say("; ".join(self.keys.problems), bad=bool(self.keys.problems))
        self.work(partial(begin, self), "begin")
        self.set_interval(TICK_S, self._tick)
        self.show_view(self.traffic.name)

    def on_resize(self, event: events.Resize) -> None:
        """Layout by size."""
        width, height = event.size
        self.screen.set_class(width >= WIDE, "wide")
        self.screen.set_class(height >= TALL, "tall")
        self.screen.set_class(width >= header.BESIDE, "broad")
        self.screen.set_class(width < MIN_WIDTH or height < MIN_HEIGHT, "narrow")
        self._show_rate()
        self._detail_for = None
        self.repaint_soon()

    def _show_rate(self) -> None:
        self._lines("rate").display = self.view is self.traffic and not self.screen.has_class("narrow")

    def now(self) -> float:
        """Epoch seconds."""
        return time.time()

    # --- painting

    def _tick(self) -> None:
        now = self.now()
        self._ticks += 1
        self.feed.roll(now)
        self._take_news()
        self._stale |= self._ticks % SLOW_TICKS == 0
        if self.pace.free and (self.view.sync(now) or self._stale):
            self._stale = False
            self.repaint()
        if self.loader.badge_due():
            self.work(self.loader.load_badge, "badge")
        if self.loader.trends_due():
            self.work(self.loader.load_trends, "trends")
        if self.loader.due(self.view):
            self.read_now()
        if self.write.ended():
            self.say("write mode is over")

    def post_display_hook(self) -> None:
        """A frame was written."""
        self.pace.frame()

    def on_cursor_position(self) -> None:
        """The terminal has drawn the last frame."""
        self.pace.answered()

    def read_now(self) -> None:
        """Reads the store for the view that is shown, without waiting for its turn."""
        self.work(partial(self._load, self.view), f"load-{self.view.name}")

    async def _load(self, view: View) -> None:
        await self.loader.load(view)
        form = self.form.form
        if isinstance(form, RuleForm) and isinstance(view, RulesView):
            form.notice(view.rule(form.row["rule_id"]))
            self.form.repaint()
        self.repaint()

    def repaint(self) -> None:
        """Paints what differs from what stands on the screen."""
        if not self.is_running or not self.screen.is_mounted:
            return
        now, width = self.now(), self.size.width
        scope = self.following.scope
        follow = scope.title if scope is not None else ""
        badges = header.Badges(self.session.host, self.session.demo, self.write.left, follow)
        self._lines("head").show(
            header.health_line(self.feed, self.connection, badges, now, width),
            header.views_line(self.view.name, width),
            header.shown_line(self.view, width),
        )
        self.panes.main.repaint()
        self._paint_detail()
        if self.view is self.traffic:
            self._lines("rate").show(self.traffic.rate_line(width))
        if self.screen.has_class("tall"):
            self._lines("strip").show(*header.strip_lines(self.feed, now, width))
        self._lines("narrow").show([(f"{width}x{self.size.height}: needs 60x12; still receiving", PLAIN)])
        self._lines("foot").show(
            [(self.keys.footer(self.view.keys_of(), width, self._does_something), FAINT)]
        )

    def _does_something(self, command: Command) -> bool:
        return command.does_something(self)

    def repaint_soon(self) -> None:
        """Paints once the new layout is known."""
        self.call_after_refresh(self.repaint)

    def _lines(self, id: str) -> TextLines:
        return self.query_one(f"#{id}", TextLines)

    def _paint_detail(self) -> None:
        detail = self.panes.detail
        width = detail.size.width - 1
        key = (self.view.name, self.view.detail_key(), width)
        if not detail.display or width <= 0 or key == self._detail_for:
            return
        self._detail_for = key
        self.detail_view.show(wrapped(self.view.detail(), width))
        detail.repaint()

    def say(self, text: str, *, bad: bool = False, good: bool = False) -> None:
        """The message line; it stays until the next message, one that warns of nothing until a key comes later."""
        self._fades = 0.0 if bad or not text else time.monotonic() + MESSAGE_S
        style = BAD if bad else GOOD if good else PLAIN
        self._lines("message").show([(visible(text, 400), style)])

    # --- views

    def view_of(self, kind: type[V]) -> V:
        """The one view of a class."""
        return next(v for v in self.views.values() if isinstance(v, kind))

    def show_view(self, name: str, *, remember: bool = True) -> None:
        """Another view; ``remember`` makes this one the last view."""
        view = self.views[name]
        if view is not self.view:
            self.last_view = self.view.name if remember else self.last_view
            self.view = view
        self.screen.set_class(name == "coverage", "view-coverage")
        self._show_rate()
        lay_out(self, view)
        view.sync(self.now())
        self.panes.show(view)
        self._detail_for = None
        self.repaint()

    def open_in(self, name: str, key: Any) -> None:
        """Goes to a view and the row with that key; says so when the view has no such row (yet)."""
        before = self.view.name
        self.show_view(name)
        self.view.came_from = before if before != name else ""
        self.work(partial(self._go_to, self.view, key), "open", instead=True)

    def enter(self, level: Level) -> None:
        """A level inside the row under the cursor; one of a view without levels opens among the actors."""
        before = self.view
        if isinstance(before, LevelsView):
            before.enter(level)
            self.show_view(before.name, remember=False)
        else:
            actors = self.view_of(ActorsView)
            actors.enter_from(before, level)
            self.show_view(actors.name)
        self.read_now()

    async def _go_to(self, view: View, key: Any) -> None:
        if isinstance(view, LevelsView):
            view.home()
        if view.stored and not view.loaded_at:
            await self.loader.load(view)
            if view.opened:
                return  # a key went on from there meanwhile
        if isinstance(view, TableView | LevelsView) and not view.go_to(key):
            self.say(f"{view.title} shows no line {key}")
        view.entered_at = view.depth
        self.repaint()

    def _take_news(self) -> None:
        """Alerts and expiries get a message and perhaps the bell, never the focus; merged identities stay followed."""
        if self.feed.notices:
            self.say(self.feed.notices[-1], bad=True)
            self.feed.notices.clear()
            if self.settings.console.bell:
                self.bell()
        self.following.take_news()

    # --- keys and commands

    async def on_event(self, event: events.Event) -> None:
        """Keys are the app's own: on their way through widgets they would wait for the loop at each."""
        if isinstance(event, events.Key):
            self.on_key(event)
        else:
            await super().on_event(event)

    def on_key(self, event: events.Key) -> None:
        """A key; while something is waited for, keys wait too."""
        self.touched = time.monotonic()
        if self.desk.waiting:
            self.desk.held.append(event)
        else:
            self.take_key(event)

    def take_key(self, event: events.Key) -> None:
        """A key for the question or form that is open, or the command that it means in this view."""
        if self.desk.swallows(event.key):
            return
        if self.prompt.question is not None:
            self.prompt.take(event)
            return
        if self.form.form is not None:
            self.form.take(event)
            return
        if self._fades and time.monotonic() > self._fades:
            self.say("")
        command = self.keys.find(event.key, self.view.keys_of())
        if command is not None:
            self.run_command(command, "")
        elif self.read_only and ALL_KEYS.find(event.key, self.view.name) is not None:
            self.say("this run is --read-only", bad=True)
        elif where := self.keys.elsewhere(event.key):
            self.say(f"{event.character or event.key} works in {', '.join(map(self._named, where))}")

    def _named(self, name: str) -> str:
        """A view as its key and its name."""
        view = self.views.get(name)  # a recording has keys of its own and is no view
        return f"view {keys.view_key(name)} ({name})" if view is not None and view.key else name

    def on_paste(self, event: events.Paste) -> None:
        """A paste fills lines and fields; it is never a command and never a yes."""
        if self.prompt.question is not None:
            self.prompt.take_paste(event)
        else:
            self.form.take_paste(event)

    def run_command(self, command: Command, text: str) -> None:
        """Does it, with what was typed after its name; a change waits for write mode."""
        if command.changes and command.id != "write" and not self.write.on:
            self.desk.switch_write_mode(lambda: self.run_command(command, text))
        else:
            command.run(self, text)

    def work(self, job: Job, name: str, *, instead: bool = False) -> None:
        """Does something beside the keys; ``instead``: in place of what is still done under that name."""
        _: Worker[None] = self.run_worker(
            job, name=name, group=name if instead else "default", exclusive=instead
        )

    @property
    def commands(self) -> Sequence[Command]:
        """The commands of this run."""
        return self.keys.commands

    def copy(self, text: str) -> str:
        """Puts a text into the terminal's clipboard; what became of it, in words."""
        copied = clipboard.copy(self, text)
        if copied.tmux is not None:
            self.work(partial(asyncio.to_thread, copied.tmux), "tmux", instead=True)
        return copied.says

    def leave(self, result: str) -> None:
        """Ends the console with ``quit`` or ``headless``, once the terminal has drawn the last frame."""

        async def end() -> None:
            await self.pace.finish()
            self.exit(result)

        self.work(end, "end")

    # --- asking

    def show_form(self, form: Form, done: Callable[[Form, bool], None]) -> None:
        """Shows a form; ``done`` gets whether it was confirmed."""

        def answered(form: Form, sent: bool) -> None:
            self.screen.remove_class("asking-form")
            done(form, sent)
            self.repaint_soon()

        self.form.ask(form, answered)
        self.screen.add_class("asking-form")
        self.call_after_refresh(self.form.repaint)

    def ask(self, question: Question) -> None:
        """Asks in the line at the bottom."""
        inner = question.done

        def done(accepted: bool, text: str) -> None:
            self.screen.remove_class("asking")
            inner(accepted, text)
            self.repaint()

        question.done = done
        self.screen.add_class("asking")
        self.prompt.ask(question)
        self.call_after_refresh(self.prompt.repaint)
