"""``rules judge``: sessions of files, or the stored history, against the rules; reading and showing only."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from decnet.errors import MalformedEvent
from decnet.hostile import visible
from decnet_tui.cli import common
from decnet_tui.cli.bar import Bar
from decnet_tui.cli.offline import tagger_of
from decnet_tui.model.words import counted

if TYPE_CHECKING:
    from decnet.config import Settings
    from decnet.ttp.judge import Judge

MAX_LINE_BYTES = 64 * 1024 * 1024
"""Bytes of one line, which is one session; a longer one is passed over and told of."""
MAX_TIMES = 10**9
_PAGE = 100
ENOUGH = 10_000
"""Lines from which on what is done once is lost in their cost."""
_LOSSES = {
    "rule_failures": "times a rule failed on a line and said nothing of it: `rules check`",
    "views_capped": "lines were too long or too deep to be judged in all their parts",
    "script_capped": "commands or files of sessions found no room: what the session tells of them is not known",
    "beyond_bound": "times an untagged line found no room in the lists below: too many kinds or different lines",
}
_WIDTHS = {"kind": 70, "example": 70, "name": 44, "rules": 24}

Shown = Annotated[int, typer.Option("--limit", min=0, help="At most so many rows of each list; 0 is all.")]


def judge(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE or -",
            help="Sessions as for `tag --sessions`, one a line, or plain command lines. Default: the stored history.",
        ),
    ] = None,
    since: common.Since = None,
    as_json: common.AsJson = False,
    limit: Shown = 20,
    rules: common.RulesDir = None,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Sessions against the rules: what no rule tags, by kind; rules that never fire, overlap, or cost much.

    A session may have "source" (its sensor) and "count" (how often it occurred). The rules alone count, no operator's state.
    """
    if files and since is not None:
        raise typer.BadParameter("--since is for the stored history, not for files")
    settings = common.settings_of(config, rules=rules, data_dir=data_dir, db=db)
    from decnet.ttp.judge import Judge

    found = Judge(tagger_of(settings))
    if files:
        for name in files:
            _read(found, name)
    else:
        start = common.parse_since(since) or datetime.fromtimestamp(0, UTC)
        with Bar("judge") as bar:
            common.run(lambda: _stored(found, settings, start, bar))
    report = found.report()
    _told(report, limit, as_json)
    _unreadable(report)
    if report["totals"]["unreadable"]:
        raise typer.Exit(1)


# --- reading


def _read(found: Judge, name: str) -> None:
    """Judges the sessions of one file; lines that are none are told to the judge."""
    try:
        stream = sys.stdin.buffer if name == "-" else Path(name).open("rb")
    except OSError as error:
        common.fail(f"{name}: cannot be read: {error.strerror}")
    source = "stdin" if name == "-" else Path(name).name
    try:
        with closing(stream):
            _sessions(found, source, stream)
    except OSError as error:
        common.fail(f"{name}: cannot be read: {error.strerror}")


def _sessions(found: Judge, source: str, stream: BinaryIO) -> None:
    """What the first line is, the file is: sessions as objects, or command lines, each judged by itself."""
    plain: bool | None = None
    for number, line in enumerate(_lines(stream), start=1):
        if line is None:
            found.unreadable(source, number, f"longer than {MAX_LINE_BYTES} bytes")
            continue
        if plain is None and line.strip():
            plain = not _is_object(line)
        if plain or line.strip():
            _session(found, source, number, {"commands": [line]} if plain else line)


def _lines(stream: BinaryIO) -> Iterator[str | None]:
    """Lines without their end; None for one that is too long, whose rest is passed over."""
    while raw := stream.readline(MAX_LINE_BYTES + 1):
        if len(raw) <= MAX_LINE_BYTES:
            yield raw.rstrip(b"\n").decode("utf-8", "replace")
            continue
        while raw and not raw.endswith(b"\n"):
            raw = stream.readline(MAX_LINE_BYTES)
        yield None


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _session(found: Judge, source: str, number: int, line: str | Mapping[str, Any]) -> None:
    from decnet.ttp.offline_sessions import received_session

    try:
        said = _object(line) if isinstance(line, str) else line
        one = received_session({"session": f"line {number}", **said})
        times = _times(said)
    except (ValueError, RecursionError) as error:
        found.unreadable(source, number, visible(error, 200))
        return
    found.session(one, str(said.get("source") or said.get("sensor") or source)[:80], times)


def _object(line: str) -> Mapping[str, Any]:
    """Raises ValueError for what is none."""
    said = json.loads(line)
    if isinstance(said, dict) and isinstance(said.get("commands"), list):
        return said
    raise ValueError('a session is an object with a list of "commands"')


def _times(said: Mapping[str, Any]) -> int:
    """How often a session occurred. Raises ValueError."""
    times = said.get("count", 1)
    if type(times) is not int or not 1 <= times <= MAX_TIMES:
        raise ValueError(f"count is a whole number from 1 to {MAX_TIMES}")
    return times


async def _stored(found: Judge, settings: Settings, since: datetime, bar: Bar) -> None:
    """Judges the stored sessions that ended since; the decoy is the source."""
    from decnet.runtime.received import received

    async with common.repository(settings) as repo:
        now, after, done = datetime.now(UTC), None, 0
        total = await repo.replay_count("sessions", since, now)
        while True:
            page = await repo.replay_page("sessions", since, now, after, _PAGE)
            done += page.rows
            bar.part(done, total, "sessions")
            for event in page.events:
                decky = str(event.payload.get("decky_id") or "(no decoy named)")
                try:
                    found.session(received(event), decky)
                except MalformedEvent as error:
                    found.unreadable(decky, 0, visible(error, 200))
            if (after := page.after) is None:
                return


# --- showing


def _told(report: dict[str, Any], limit: int, as_json: bool) -> None:
    lists = ("untagged_kinds", "untagged_lines", "never_fired", "not_asked", "one_source", "overlaps")
    cut = {name: report[name] and report[name][: limit or None] for name in lists}
    cost = {**report["cost"], "rules": report["cost"]["rules"][: limit or None]}
    if as_json:
        typer.echo(common.to_json({**report, **cut, "cost": cost}))
        return
    if report["totals"]["unreadable"] and not report["totals"]["sessions_read"]:
        typer.echo("none of it could be read as a session: see `--help` for what one is")
    elif not report["totals"]["sessions_read"]:
        typer.echo("no sessions: give a file of them (`--help`), or start an engine that stores some")
    else:
        _overview(report)
        _untagged(report, cut)
        _rules(report, cut)
        _cost(cost, len(report["cost"]["rules"]))


def _overview(report: dict[str, Any]) -> None:
    t = report["totals"]
    for what in ("sessions", "lines"):
        total, tagged = t[what], t[f"{what}_tagged"]
        read = (
            f" ({t['sessions_read']} read, with their counts)"
            if what == "sessions" and total != t["sessions_read"]
            else ""
        )
        typer.echo(
            f"{what:<9} {total}{read}: {tagged} tagged ({_share(tagged, total)}), {total - tagged} not"
        )
    typer.echo(
        f"rules     {t['rules']}: {t['rules_fired']} fired, {len(report['never_fired'])} never, {len(report['not_asked'])} not asked"
    )
    names = [f"{visible(name, 40)} {n}" for name, n in list(report["sources"].items())[:8]]
    more = len(report["sources"]) - len(names)
    typer.echo(f"sources   {', '.join(names)}{f' and {more} more' if more else ''}")
    _losses(t)


def _losses(totals: Mapping[str, int]) -> None:
    """What could not be judged in full, in words."""
    for name, words in _LOSSES.items():
        if totals[name]:
            typer.echo(f"{totals[name]} {words}")


def _untagged(report: dict[str, Any], cut: dict[str, Any]) -> None:
    t = report["totals"]
    _title("untagged kinds", cut["untagged_kinds"], t["untagged_kinds"],
           "silent: in sessions without any tag; knows: what the session tells, fields for a rule")  # fmt: skip
    columns = (
        "seen",
        "different",
        "sessions",
        "silent_sessions",
        "kind",
        "example",
        "session",
        "line",
        "knows",
    )
    _table(cut["untagged_kinds"], columns)
    _title("untagged lines", cut["untagged_lines"], t["untagged_different"], "the same, each text by itself")
    _table(cut["untagged_lines"], ("seen", "sessions", "example", "session", "line"))


def _rules(report: dict[str, Any], cut: dict[str, Any]) -> None:
    near = [row for row in cut["never_fired"] if row["looked_at"] or row["typed"]]
    _title("never fired", near, len(report["never_fired"]),
           "held: right and still without a tag (replaced, below the floor, over time); looked_at: some part of it was right; "
           "typed: lines with the program of its examples, see whether it should have fired")  # fmt: skip
    _table(near, ("rule_id", "name", "held", "looked_at", "typed", "program", "example"))
    reasons = sorted({row["reason"] for row in report["not_asked"]})
    if reasons:
        typer.echo(
            f"\nnot asked: {counted(len(report['not_asked']), 'rule')}, for what is not in here ({'; '.join(reasons)})"
        )
    if cut["one_source"] is None:
        typer.echo(
            "\nfire on one source only: cannot be told of one source; give files or sessions of several"
        )
    else:
        _title(
            "fire on one source only",
            cut["one_source"],
            len(report["one_source"]),
            "know a kind, or one log? (few lines say little)",
        )
        _table(cut["one_source"], ("rule_id", "name", "source", "seen", "sessions"))
    _title("overlap", cut["overlaps"], len(report["overlaps"]),
           "both give a line the same technique; shares: in how many of its lines each does; "
           "alone: lines to which only that rule gave a technique (0: it adds nothing here)")  # fmt: skip
    rows = [
        {**row, "rules": " ".join(row["rules"]), "shares": [_share(s, 1) for s in row["shares"]]}
        for row in cut["overlaps"]
    ]
    _table(rows, ("rules", "shares", "alone", "seen", "techniques", "example"))


def _cost(cost: dict[str, Any], rules: int) -> None:
    _title("cost", cost["rules"], rules,
           f"{counted(cost['judged'], 'line')} judged (repeated ones are remembered), {cost['us_a_line']:.1f} us each{_few(cost)}, "
           f"{cost['us_rules']:.1f} of it in single rules; reading the session {cost['us_reading']:.1f} us a line")  # fmt: skip
    _table(cost["rules"], ("rule_id", "name", "us_a_line", "us_a_look", "looked_at", "held"))


def _few(cost: Mapping[str, Any]) -> str:
    return "" if cost["judged"] >= ENOUGH else " (few lines: start-up counts in)"


def _unreadable(report: dict[str, Any]) -> None:
    total = report["totals"]["unreadable"]
    for row in report["unreadable"]:
        where = (
            f"{visible(row['source'], 80)}: line {row['line']}" if row["line"] else visible(row["source"], 80)
        )
        typer.echo(f"{where}: no session: {visible(row['reason'])}", err=True)
    if total:
        typer.echo(
            f"error: {counted(total, 'session')} could not be read and {'is' if total == 1 else 'are'} not in these figures",
            err=True,
        )


def _title(name: str, shown: Sequence[Any], total: int, note: str) -> None:
    of = f"{len(shown)} of {total}" if len(shown) < total else str(total)
    typer.echo(f"\n{name} ({of}): {note}" if total else f"\n{name}: none")


def _table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    if found := list(rows):
        common.print_rows(found, columns, False, "", _WIDTHS)


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.0%}" if whole else "-"
