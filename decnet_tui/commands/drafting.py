"""The command that begins a rule from what is seen: a line of a session, a rule's example, an event of a session."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from decnet.errors import DecnetError
from decnet_tui.commands.base import Command
from decnet_tui.commands.reading import short_path
from decnet_tui.model.access import need_store, store_errors
from decnet_tui.model.drafts import Written, write_draft
from decnet_tui.model.steps import COMMAND
from decnet_tui.screens.base import View
from decnet_tui.screens.levels import LevelsView
from decnet_tui.screens.session import SessionLevel

if TYPE_CHECKING:
    from decnet_tui.commands.context import Context


class Seen(NamedTuple):
    """What is seen: a session and one of its commands by id, or the text of a command."""

    session: str | None = None
    command: str | None = None
    text: str | None = None


def seen_in(view: View) -> Seen | None:
    """What the line under the cursor speaks of, else the session that is open."""
    record = view.record()
    level = next((one for one in reversed(view.levels) if isinstance(one, SessionLevel)), None) if isinstance(view, LevelsView) else None  # fmt: skip
    if level is not None:
        current = level.current
        typed = current if current is not None and current["kind"] == COMMAND else None
        return Seen(level.session_id, typed["key"] if typed is not None else None)
    if session := record.get("session_id"):
        return Seen(str(session))
    example = record.get("example")
    return Seen(text=example) if isinstance(example, str) and example.strip() else None


def draft(console: Context, _: str) -> None:
    """Writes a rule skeleton from the line under the cursor; from the view before, where this one shows rules."""
    before = console.views.get(console.last_view)
    seen = seen_in(console.view) or (seen_in(before) if before is not None else None)
    if seen is None:
        console.say("there is no command here to begin a rule from: go to a line of a session", bad=True)
        return
    console.work(partial(_draft, console, seen), "draft", instead=True)


async def _draft(console: Context, seen: Seen) -> None:
    try:
        written = await _written(console, seen)
    except (OSError, ValueError, DecnetError) as error:
        console.say(f"no draft: {error}", bad=True)
        return
    except store_errors() as error:
        console.say(f"the session cannot be read: {error}", bad=True)
        return
    head = f"draft from line {written.line}: "
    console.say(head + short_path(written.path, console.panes.width - len(head) - 1), good=True)


async def _written(console: Context, seen: Seen) -> Written:
    payload = None
    if seen.session is not None:
        payload = await need_store(console.session).session_payload(seen.session)
        if payload is None:
            raise ValueError("this session is not stored yet")
    texts = [seen.text] if seen.text is not None else []
    return await asyncio.to_thread(write_draft, console.settings, payload, texts, seen.command)


COMMANDS = (
    Command("rule.draft", "begin a rule from this line: a skeleton in a private file", "Evidence", draft, keys="N",
            name="draft"),
)  # fmt: skip
