"""Back-filling one rule (``B``): a process of its own, so that no key waits for it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from decnet.config import Settings
from decnet.errors import DecnetError
from decnet.home import with_database
from decnet.hostile import visible
from decnet_tui.actions.changes import Change, Outcome
from decnet_tui.actions.forms import Field, Form
from decnet_tui.model.access import Session
from decnet_tui.model.feed import Feed
from decnet_tui.model.journal import End
from decnet_tui.model.words import counted

SPANS = ("7d", "24h", "30d", "365d")


@dataclass
class Backfill(Change):
    """Judges stored events again by one rule. ``options`` and ``db`` name the store for the command.

    The URL of a database may hold a password, and everybody may read the arguments of a process: it goes by the
    surroundings.
    """

    rule_id: str
    since: str
    options: Sequence[str] = ()
    db: str | None = None
    report: dict[str, Any] = field(default_factory=dict)
    kind = "rule.backfill"

    @property
    def target(self) -> str:  # type: ignore[override]
        """The rule."""
        return self.rule_id

    @property
    def what(self) -> str:
        """Rule and span."""
        return f"back-fill of {self.rule_id} over {self.since}"

    def after(self) -> dict[str, Any]:
        """The span."""
        return {"since": self.since}

    async def send(self, session: Session) -> None:
        """Runs to the end. Raises DecnetError with the last line of what it said when it failed."""
        command = (
            "backfill",
            "--json",
            "--journalled",
            "--since",
            self.since,
            "--rule",
            self.rule_id,
            *self.options,
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "decnet_tui", *command,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env=with_database(self.db),
        )  # fmt: skip
        try:
            out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        if process.returncode:
            said = err.decode(errors="replace").strip().splitlines() or ["no reason given"]
            raise DecnetError(visible(said[-1], 300))
        try:
            self.report = dict(json.loads(out))
        except (ValueError, TypeError) as error:
            raise DecnetError("it ended without a report") from error

    def reported(self, feed: Feed, sent_at: float) -> Outcome | None:
        """Its own report."""
        r = self.report
        text = f"{counted(r.get('judged'), 'event')} judged, {counted(r.get('tags'), 'new tag')}, {r.get('superseded')} superseded"
        text += f", {r.get('replaced')} replaced"
        return Outcome(End.VERIFIED, text)


class BackfillForm(Form):
    """How far back."""

    def __init__(self, rule_id: str, name: str, options: Sequence[str], db: str | None = None) -> None:
        self.rule_id, self.options, self.db = rule_id, options, db
        super().__init__([Field("since", SPANS[0], choices=SPANS)])
        self.title = f"BACK-FILL {rule_id} {name}"

    def effect(self) -> list[str]:
        """What it does to tags."""
        return ["what is stored is judged by this rule as it is now; twice is as once"]

    def question(self) -> str:
        """What ``y`` does."""
        return f"judge the last {self.value('since')} again"

    def change(self, now: float) -> Backfill:
        """The command. Raises ValueError for a span that is none."""
        since = self.value("since").strip()
        if not since or not since[:-1].isdigit() or since[-1] not in "smhdw":
            raise ValueError("how far back? 24h, 7d or 4w")
        return Backfill(self.rule_id, since, self.options, self.db)


def store_options(settings: Settings) -> list[str]:
    """The options that lead a command to the same data and rules; the database is :func:`with_database`'s."""
    return ["--data-dir", str(settings.data_dir), "--rules", str(settings.rules)]
