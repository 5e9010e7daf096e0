"""Where an operator's changes are asked for and sent: write mode, the open form, and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from textual import events

from decnet_tui.actions import changes
from decnet_tui.actions.forms import Form
from decnet_tui.actions.write_mode import WriteMode
from decnet_tui.widgets.prompt import Question

if TYPE_CHECKING:
    from decnet_tui.app import DecnetApp
    from decnet_tui.screens.base import View


class Desk:
    """The changes of one console."""

    def __init__(self, app: DecnetApp, minutes: float, *, read_only: bool) -> None:
        self._app = app
        self.write = WriteMode(minutes, never=read_only)
        self.waiting = False
        """Whether a command waits for the store; keys are held back until it goes on."""
        self.held: list[events.Key] = []
        self._swallowing = False

    def switch_write_mode(self, after: Callable[[], None] | None = None) -> None:
        """Asks for write mode, then does ``after``; without that, write mode that is on ends."""
        app = self._app
        if self.write.never:
            app.say("this run is --read-only", bad=True)
            return
        if self.write.on:
            self.write.stop()
            app.say("read-only again")
            return

        def done(accepted: bool, typed: str) -> None:
            if not accepted:
                self._refused("still read-only", typed)
                return
            self.write.start()
            app.say(f"write mode for {self.write.minutes:.0f} min; W ends it")
            if after is not None:
                after()

        label = f"Type y for write mode, {self.write.minutes:.0f} min; anything else cancels: "
        app.ask(Question(label, done, confirm=True))

    def once_loaded(self, view: View, then: Callable[[], None]) -> bool:
        """True when the view has read the store; else it reads it and does ``then`` afterwards."""
        if view.loaded_at or view.problem:
            return True
        self.waiting = True
        self._app.run_worker(self._load(view, then), name=f"load-{view.name}")
        return False

    async def _load(self, view: View, then: Callable[[], None]) -> None:
        """Keys that are pressed meanwhile are for what comes then."""
        try:
            await self._app.loader.load(view)
        finally:
            self.waiting = False
        then()
        held, self.held = self.held, []
        for event in held:
            self._app.take_key(event)

    def propose(self, form: Form) -> None:
        """Shows a form; once it is confirmed, its change is sent, verified and journalled."""
        app = self._app
        app.form.ask(form, self._answered)
        app.screen.add_class("asking-form")
        app.call_after_refresh(app.form.repaint)

    def _answered(self, form: Form, sent: bool) -> None:
        app = self._app
        app.screen.remove_class("asking-form")
        if not sent:
            self._refused("nothing changed", form.typed)
        elif not self.write.on:
            app.say("write mode ended meanwhile: nothing changed", bad=True)
        else:
            self._begin(form)
        app.repaint_soon()

    def _begin(self, form: Form) -> None:
        """What held when the form was reviewed may be over by now, such as the moment of ``until 18:00``."""
        try:
            change = form.change(self._app.now())
        except ValueError as error:
            self._app.say(f"nothing changed: {error}", bad=True)
        else:
            self._app.run_worker(self._send(change), name="change")

    def _refused(self, said: str, typed: str) -> None:
        """Who types on after a failed confirmation means it for the form: it must not become commands."""
        self._swallowing = bool(typed) and typed.isprintable()
        self._app.say(f"{said}; Esc or Enter goes on" if self._swallowing else said)

    def swallows(self, key: str) -> bool:
        """Whether a key is dropped, since a confirmation failed and neither Esc nor Enter came yet."""
        if not self._swallowing:
            return False
        if key in ("escape", "enter"):
            self._swallowing = False
            self._app.say("")
        return True

    async def _send(self, change: changes.Change) -> None:
        app = self._app
        app.say(f"{change.what}: sent, verifying ...")
        outcome = await changes.perform(app.session, app.feed, change)
        good = outcome.end is changes.End.VERIFIED
        app.say(outcome.text(change.what), good=good, bad=not good)
        if app.view.stored:
            app.read_now()
