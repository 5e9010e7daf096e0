"""Rule files that are begun from what is seen: written to a private file of the data directory, in force nowhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from decnet.config import Settings
    from decnet.db.rows.recorder import EndedPayload

MAX_DRAFTS = 10_000
"""Drafts in one folder. They lie with the exports: a console that changes nothing writes nothing else."""


class Written(NamedTuple):
    """A draft that was written: where, and the line of the session that it was made of (from 1)."""

    path: Path
    line: int


def write_draft(
    settings: Settings, session: EndedPayload | None, commands: Sequence[str], command: str | None
) -> Written:
    """A draft from a stored session, or from commands without one; ``command`` is the id of the line that is meant.

    The file is new, of mode 0600, in ``<data_dir>/exports``. Raises OSError, DecnetError without rules, NothingToDraft where
    nothing was typed.
    """
    from decnet.ttp.drafting import draft  # here: only who drafts waits for the rules to be compiled
    from decnet.ttp.offline import OfflineTagger
    from decnet.ttp.offline_sessions import received_session, stored_session

    tagger = OfflineTagger(
        settings.rules
    )  # without keeping what it compiles: whoever only looks writes no cache
    if session is not None:
        known = stored_session(session)
        places = {ident: place for place, (ident, _) in enumerate(known.record.command_ids(), start=1)}
        line = places.get(command or "")
    else:
        known, line = received_session({"session": "typed", "commands": list(commands)}), len(commands)
    made = draft(tagger, known, line=line)
    return Written(_put(settings.data_dir / "exports", made.text), made.line)


def _put(folder: Path, text: str) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number in range(1, MAX_DRAFTS):
        path = folder / f"draft_{number:04}.yaml"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            continue
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        return path
    raise FileExistsError(17, "too many drafts", str(folder))
