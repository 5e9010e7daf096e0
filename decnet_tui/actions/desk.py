"""Where an operator's changes are asked for and sent: write mode, the open form, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Protocol, TypeAlias

from textual import events

from decnet_tui.actions import changes
from decnet_tui.actions.forms import Form
from decnet_tui.actions.write_mode import WriteMode
from decnet_tui.model.access import Session
from decnet_tui.model.feed import Feed
from decnet_tui.model.journal import End
from decnet_tui.model.keys import key
from decnet_tui.screens.base import View
from decnet_tui.screens.loading import Loader
from decnet_tui.widgets.prompt import Question

Job: TypeAlias = Callable[[], Coroutine[None, None, None]]
"""Something that is done beside the keys."""


class Host(Protocol):
    """What the desk stands in: it says, asks, shows forms and does things beside the keys."""

    session: Session
    feed: Feed
    loader: Loader
    view: View

    def say(self, text: str, *, bad: bool = False, good: bool = False) -> None:
        """The message line."""
        ...

    def ask(self, question: Question) -> None:
        """Asks in the line at the bottom."""
        ...

    def show_form(self, form: Form, done: Callable[[Form, bool], None]) -> None:
        """Shows a form; ``done`` gets whether it was confirmed."""
        ...

    def take_key(self, event: events.Key) -> None:
        """A key that was held back."""
        ...

    def work(self, job: Job, name: str) -> None:
        """Does something beside the keys."""
        ...

    def read_now(self) -> None:
        """Reads the store for the view that is open."""
        ...

    def now(self) -> float:
        """Epoch seconds."""
        ...


class Desk:
    """The changes of one console."""

    def __init__(self, host: Host, minutes: float, *, read_only: bool) -> None:
        self._host = host
        self.write = WriteMode(minutes, never=read_only)
        self.waiting = False
        """Whether a command waits for the store; keys are held back until it goes on."""
        self.held: list[events.Key] = []
        self.swallowing = False
        """Whether a confirmation failed and neither Esc nor Enter came yet."""

    def switch_write_mode(self, after: Callable[[], None] | None = None) -> None:
        """Asks for write mode, then does ``after``; without that, write mode that is on ends."""
        host = self._host
        if self.write.never:
            host.say("this run is --read-only", bad=True)
            return
        if self.write.on:
            self.write.stop()
            host.say("read-only again")
            return

        def done(accepted: bool, typed: str) -> None:
            if not accepted:
                self.refused("still read-only", typed)
                return
            self.write.start()
            host.say(f"write mode for {self.write.minutes:.0f} min; {key('write')} ends it")
            if after is not None:
                after()

        label = f"Type y for write mode, {self.write.minutes:.0f} min; anything else cancels: "
        host.ask(Question(label, done, confirm=True))

    def once_loaded(self, view: View, then: Callable[[], None]) -> bool:
        """True when the view has read the store; else it reads it and does ``then`` afterwards."""
        if view.loaded_at or view.problem:
            return True
        self.waiting = True
        self._host.work(partial(self._load, view, then), f"load-{view.name}")
        return False

    async def _load(self, view: View, then: Callable[[], None]) -> None:
        """Keys that are pressed meanwhile are for what comes then."""
        try:
            await self._host.loader.load(view)
        finally:
            self.waiting = False
        then()
        held, self.held = self.held, []
        for event in held:
            self._host.take_key(event)

    def propose(self, form: Form) -> None:
        """Shows a form; once it is confirmed, its change is sent, verified and journalled."""
        self._host.show_form(form, self._answered)

    def _answered(self, form: Form, sent: bool) -> None:
        if not sent:
            self.refused("nothing changed", form.typed)
        elif not self.write.on:
            self._host.say("write mode ended meanwhile: nothing changed", bad=True)
        else:
            self._begin(form)

    def _begin(self, form: Form) -> None:
        """What held when the form was reviewed may be over by now, such as the moment of ``until 18:00``."""
        try:
            change = form.change(self._host.now())
        except ValueError as error:
            self._host.say(f"nothing changed: {error}", bad=True)
        else:
            self._host.work(partial(self._send, change), "change")

    def refused(self, said: str, typed: str) -> None:
        """Says so; who types on after a failed confirmation means it for that: it must not become commands."""
        self.swallowing = bool(typed) and typed.isprintable()
        self._host.say(f"{said}; Esc or Enter goes on" if self.swallowing else said)

    def swallows(self, key: str) -> bool:
        """Whether a key is dropped, since a confirmation failed and neither Esc nor Enter came yet."""
        if not self.swallowing:
            return False
        if key in ("escape", "enter"):
            self.swallowing = False
            self._host.say("")
        return True

    async def _send(self, change: changes.Change) -> None:
        host = self._host
        host.say(f"{change.what}: sent, verifying ...")
        outcome = await changes.perform(host.session, host.feed, change)
        good = outcome.end is End.VERIFIED
        host.say(outcome.text(change.what), good=good, bad=not good)
        if host.view.stored:
            host.read_now()
