"""The console's App: it only wires feed, link, views and widgets.

One list widget shows whichever view is current; a paced tick lets that view take in what is new and
repaints lines that differ. What a view shows lives in ``screens``, what is sent in ``changes``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from textual import events
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.containers import Container

from decnet.config import Settings
from decnet.hostile import visible
from decnet.logs import get_logger
from decnet_tui import changes, clipboard, keymap
from decnet_tui.feed import Feed
from decnet_tui.filters import FilterError
from decnet_tui.link import Link
from decnet_tui.ruleform import RuleForm
from decnet_tui.screens import header
from decnet_tui.screens.base import TIME_FORMATS, TextView, View, wrapped
from decnet_tui.screens.help import HelpView
from decnet_tui.screens.rules import RulesView
from decnet_tui.screens.traffic import TrafficView
from decnet_tui.screens.workers import WorkersView
from decnet_tui.session import STORE_ERRORS, Session
from decnet_tui.widgets.form import FormPane
from decnet_tui.widgets.line_list import LineList
from decnet_tui.widgets.prompt import Prompt
from decnet_tui.widgets.strips import BAD, FAINT, GOOD, PLAIN, TextLines

TICK_S = 0.1
SLOW_TICKS = 5
RULES_S = 2.0
WIDE, TALL = 120, 40
MIN_WIDTH, MIN_HEIGHT = 60, 12
CHANGES = frozenset({"write", "rule.disable", "rule.enable", "rule.clip"})
log = get_logger(__name__)


class DecnetApp(App[None], inherit_bindings=False):
    """The console over one session."""

    CSS_PATH = Path(__file__).with_name("theme.tcss")
    TITLE = "decnet"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [*keymap.bindings()]

    def __init__(self, settings: Settings, *, session: Session, read_only: bool = False) -> None:
        super().__init__(ansi_color=True)
        self.settings = settings
        self.session = session
        self.read_only = read_only
        self.feed = Feed(settings.console.ring, settings.runtime.heartbeat_s)
        self.link = Link(session.bus, self.feed)
        self.keys = settings.console.keymap
        self.hidden_keys = CHANGES if read_only else frozenset()
        self.traffic, self.rules = TrafficView(self.feed), RulesView(self.feed)
        self.workers_view = WorkersView(self.feed)
        self.help_view = HelpView(self.feed, self.keys, self.hidden_keys)
        self.views: dict[str, View] = {
            v.name: v for v in (self.traffic, self.rules, self.workers_view, self.help_view)
        }
        self.detail_view = TextView(self.feed)
        self.view: View = self.traffic
        self.last_view = self.traffic.name
        self.write_until = 0.0
        self._after_write: Callable[[], None] | None = None
        self._filter_before = ""
        self._detail_for: object = None
        self._ticks = 0
        self._rules_seen = 0

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
        self.pane, self.detail = self.query_one("#list", LineList), self.query_one("#detail", LineList)
        self.prompt, self.form = self.query_one(Prompt), self.query_one(FormPane)
        self.detail.show(self.detail_view)
        wrong = keymap.problems(self.keys)
        self.set_keymap({k: v for k, v in self.keys.items() if not wrong})
        self.say("; ".join(wrong), bad=True) if wrong else self.say("")
        self.run_worker(self.link.run(), name="link")
        self.run_worker(self.link.watch(), name="link-watch")
        self.run_worker(self._load_heartbeats(), name="heartbeats")
        self.set_interval(TICK_S, self._tick)
        self._show(self.traffic)

    def on_resize(self, event: events.Resize) -> None:
        """Layout by size."""
        width, height = event.size
        self.screen.set_class(width >= WIDE, "wide")
        self.screen.set_class(height >= TALL, "tall")
        self.screen.set_class(width < MIN_WIDTH or height < MIN_HEIGHT, "narrow")
        self._detail_for = None
        self.call_after_refresh(self._paint)

    # --- painting

    def _tick(self) -> None:
        now = time.time()
        self._ticks += 1
        self.feed.rates.roll(now)
        moved = self.view.sync(now)
        if moved or self._ticks % SLOW_TICKS == 0:
            self._paint()
        if self.view is self.rules:
            self._refresh_rules()
        if self.write_until and time.monotonic() > self.write_until:
            self.write_until = 0.0
            self.say("write mode is over")

    def _paint(self) -> None:
        if not self.is_running or not self.screen.is_mounted:
            return
        now, width = time.time(), self.size.width
        left = max(self.write_until - time.monotonic(), 0.0)
        badges = header.Badges(self.session.host, self.session.demo, left)
        self._lines("head").show(
            header.health_line(self.feed, self.link, badges, now, width),
            header.views_line(self.view.name, width),
            header.shown_line(self.view, width),
        )
        self.pane.repaint()
        self._paint_detail()
        if self.view is self.traffic:
            self._lines("rate").show(self.traffic.rate_line(width))
        if self.screen.has_class("tall"):
            self._lines("strip").show(*header.strip_lines(self.feed, now, width))
        self._lines("narrow").show([(f"{width}x{self.size.height}: needs 60x12; still receiving", PLAIN)])
        self._lines("foot").show([(keymap.footer(self.view.name, self.keys, self.hidden_keys), FAINT)])

    def _lines(self, id: str) -> TextLines:
        return self.query_one(f"#{id}", TextLines)

    def _paint_detail(self) -> None:
        width = self.detail.size.width - 1
        key = (self.view.name, self.view.detail_key(), width)
        if not self.detail.display or width <= 0 or key == self._detail_for:
            return
        self._detail_for = key
        self.detail_view.show(wrapped(self.view.detail(), width))
        self.detail.repaint()

    def say(self, text: str, *, bad: bool = False, good: bool = False) -> None:
        """The message line; it stays until the next message."""
        style = BAD if bad else GOOD if good else PLAIN
        self._lines("message").show([(visible(text, 400), style)])

    # --- views

    def _show(self, view: View) -> None:
        self.screen.remove_class(f"view-{self.view.name}")
        if view is not self.view:
            self.last_view, self.view = self.view.name, view
        self.screen.add_class(f"view-{view.name}")
        view.sync(time.time())
        self.pane.show(view)
        self.pane.focus()
        self._detail_for = None
        self._paint()

    def action_view(self, name: str) -> None:
        """Another view; help leaves by its own key too."""
        self._show(self.views[self.last_view if name == "help" == self.view.name else name])

    def action_last_view(self) -> None:
        """The view before this one."""
        self._show(self.views[self.last_view])

    def action_escape(self) -> None:
        """One level back: the detail pane, then help."""
        if self.detail.has_focus or self.screen.has_class("detailed"):
            self.screen.remove_class("detailed")
            self.pane.focus()
        elif self.view is self.help_view:
            self.action_last_view()

    def action_leave(self) -> None:
        """Back; at the top it says how to quit."""
        if self.detail.has_focus or self.screen.has_class("detailed") or self.view is self.help_view:
            self.action_escape()
        else:
            self.say("nothing to go back to; Q quits")

    # --- moving

    @property
    def _focused_list(self) -> LineList:
        return self.detail if self.detail.has_focus else self.pane

    def action_move(self, by: int) -> None:
        """So many lines down."""
        target = self._focused_list
        if target.view is not None:
            target.view.move(by, target.rows)
            self._paint()
            target.repaint()

    def action_page(self, by: int) -> None:
        """So many pages down."""
        self.action_move(by * max(self._focused_list.rows - 1, 1))

    def action_edge(self, to: int) -> None:
        """The first or the last line."""
        self.action_move(to * 10**9)

    def action_next_pane(self) -> None:
        """The other pane, if it is there."""
        (self.pane if self.detail.has_focus or not self.detail.display else self.detail).focus()

    def action_side(self, by: int) -> None:
        """The pane at that side."""
        (self.detail if by > 0 and self.detail.display else self.pane).focus()

    # --- reading

    def action_pause(self) -> None:
        """Holds Traffic still, or lets it go on."""
        paused = self.traffic.pause()
        self.say("paused: still receiving; p goes on, / filters what is held" if paused else "")
        self._paint()

    def action_tail(self) -> None:
        """Stays at the newest event, or stops doing so."""
        self.traffic.tail = not self.traffic.tail
        if self.traffic.tail and self.traffic.frozen is None:
            self.traffic.cursor = max(self.traffic.count() - 1, 0)
        self._paint()

    def action_open(self) -> None:
        """The detail pane, with the keys in it."""
        if self.view is not self.help_view:
            self.screen.add_class("detailed")
            self.detail.focus()
            self.call_after_refresh(self._paint)

    def action_detail(self) -> None:
        """The detail pane on or off."""
        self.screen.toggle_class("detailed")
        self.pane.focus()
        self.call_after_refresh(self._paint)

    def action_time_format(self) -> None:
        """The next time format."""
        at = TIME_FORMATS.index(self.view.time_format)
        for view in self.views.values():
            view.time_format = TIME_FORMATS[(at + 1) % len(TIME_FORMATS)]
        self._paint()

    def action_copy(self) -> None:
        """The data of the line under the cursor, to the terminal's clipboard."""
        taken = clipboard.copy(self, self.view.copy_text())
        self.say(f"copied {taken} characters (if the terminal allows OSC 52)")

    def action_filter(self) -> None:
        """Types a filter; it applies while typing."""
        self._filter_before = self.view.filter_text
        self._ask("filter", "/ ", self.view.filter_text)

    def action_clear_filter(self) -> None:
        """Shows everything."""
        self.view.set_filter("")
        self._paint()

    # --- asking

    def _ask(self, purpose: str, label: str, text: str = "", *, confirm: bool = False) -> None:
        self.screen.add_class("asking")
        self.prompt.ask(purpose, label, text, confirm=confirm)
        self.prompt.focus()
        self.call_after_refresh(self.prompt.repaint)

    def on_prompt_changed(self) -> None:
        """A filter while it is typed."""
        if self.prompt.purpose == "filter":
            try:
                self.view.set_filter(self.prompt.text)
                self.prompt.explain("")
            except FilterError as error:
                self.prompt.explain(str(error))
            self._paint()

    def on_prompt_done(self, event: Prompt.Done) -> None:
        """An answer."""
        self.screen.remove_class("asking")
        self.pane.focus()
        if event.purpose == "filter" and not event.accepted:
            self.view.set_filter(self._filter_before)
        elif event.purpose == "write":
            self._write_answer(event.accepted)
        elif event.purpose == "quit" and event.accepted:
            self.exit()
        self._paint()

    def _write_answer(self, accepted: bool) -> None:
        after, self._after_write = self._after_write, None
        if not accepted:
            self.say("still read-only")
            return
        self.write_until = time.monotonic() + self.settings.console.write_mode_min * 60
        self.say(f"write mode for {self.settings.console.write_mode_min:.0f} min; W ends it")
        if after is not None:
            after()

    # --- changing

    def action_write_mode(self) -> None:
        """Write mode on, after a typed y, or off."""
        if self.read_only:
            self.say("this run is --read-only", bad=True)
        elif self.write_until:
            self.write_until = 0.0
            self.say("read-only again")
        else:
            minutes = self.settings.console.write_mode_min
            self._ask(
                "write", f"Type y for write mode, {minutes:.0f} min; anything else cancels: ", confirm=True
            )

    def action_change(self, verb: str) -> None:
        """The form for the rule under the cursor; offers write mode first."""
        row = self.rules.current
        if self.view is not self.rules or row is None:
            self.say("D, E and C change the rule under the cursor in view 4")
        elif row.get("error"):
            self.say(f"{row['rule_id']} failed to load; its errors stand in the detail", bad=True)
        elif not self.write_until:
            self._after_write = lambda: self.action_change(verb)
            self.action_write_mode()
        else:
            self.form.ask(RuleForm(row, verb), self.rules.fired_recently(row["rule_id"]))
            self.screen.add_class("asking-form")
            self.form.focus()
            self.call_after_refresh(self.form.repaint)

    def on_form_pane_done(self, event: FormPane.Done) -> None:
        """The form was sent or left."""
        form, self.form.form = self.form.form, None
        self.screen.remove_class("asking-form")
        self.pane.focus()
        if event.outcome != "send" or form is None:
            self.say("nothing changed")
        elif not self.write_until:
            self.say("write mode ended meanwhile: nothing changed", bad=True)
        else:
            self.run_worker(self._send(form), name="rule-change")

    async def _send(self, form: RuleForm) -> None:
        change = form.change(time.time())
        self.say(f"{change.rule_id} {change.state}: sent, verifying …")
        text, verified = await changes.send(self.session, self.feed, change)
        self.say(text, bad=not verified, good=verified)
        await self._load_rules()

    # --- data that is fetched

    def _refresh_rules(self) -> None:
        due = time.monotonic() - self.rules.loaded_at > RULES_S or self._rules_seen != self.feed.rules_version
        if due:
            self._rules_seen = self.feed.rules_version
            self.rules.loaded_at = time.monotonic()
            self.run_worker(self._load_rules(), name="rules", group="rules", exclusive=True)

    async def _load_rules(self) -> None:
        try:
            self.rules.load(await self.session.list_rules())
        except STORE_ERRORS as error:
            self.rules.fail(visible(error, 300))
        if self.form.form is not None:
            self.form.form.notice(self.rules.find(self.form.form.row["rule_id"]))
            self.form.repaint()
        self._paint()

    async def _load_heartbeats(self) -> None:
        if self.session.repo is None:
            return
        try:
            self.feed.load_heartbeats(await self.session.repo.heartbeats())
        except STORE_ERRORS as error:
            self.say(f"heartbeats cannot be read: {error}", bad=True)

    # --- leaving

    def action_quit_console(self) -> None:
        """Ends the console; with the engine inside, only after a typed y."""
        if self.session.engine_inside:
            ask = "The engine runs inside and stops too. Type y to quit, anything else stays: "
            self._ask("quit", ask, confirm=True)
        else:
            self.exit()

    def action_interrupt(self) -> None:
        """Ctrl+C."""
        self.say("Q quits")
