"""``rules test``: a rule over the stored history before it is in force; reading and showing only."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from decnet.errors import MalformedEvent
from decnet.hostile import visible
from decnet_tui.cli import common
from decnet_tui.cli.bar import Bar
from decnet_tui.cli.judging import ENOUGH
from decnet_tui.cli.offline import tagger_of
from decnet_tui.model.words import counted

if TYPE_CHECKING:
    from decnet.config import Settings
    from decnet.ttp.rules import CompiledRule
    from decnet.ttp.trying import Trial

_PAGE = 100
_LIVE_ONLY = {"email": "mails", "canary_fingerprint": "trips of canary tokens"}
"""Kinds of events that only the stream keeps."""
Shown = Annotated[int, typer.Option("--limit", min=0, help="At most so many examples; 0 is all.")]


def try_rule(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The rule file; it need not be in force.")],
    since: common.Since = None,
    as_json: common.AsJson = False,
    limit: Shown = 10,
    rules: common.RulesDir = None,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """What a rule would tag of the stored history: how much, examples, cost, and other rules that tag the same.

    The file is checked first, and its own tests are run; exit 1 if it does not load or one of them fails. Nothing is
    stored and nothing is put in force.
    """
    settings = common.settings_of(config, rules=rules, data_dir=data_dir, db=db)
    rule = _loaded(file)
    from decnet.ttp.trying import Trial

    trial = Trial(tagger_of(settings), rule, limit)
    start = common.parse_since(since) or datetime.fromtimestamp(0, UTC)
    unread = common.run(lambda: _over_history(settings, trial, start))
    told = trial.report() | {"unreadable": unread}
    if as_json:
        typer.echo(common.to_json(told))
    else:
        _tell(told, rule)


def _loaded(file: Path) -> CompiledRule:
    """The rule of the file; ends the command with its errors, or with its own tests that fail."""
    from decnet.ttp.loader import load_file
    from decnet.ttp.selftest import run_rule_tests

    rule, errors = load_file(file)
    if rule is None:
        common.fail("\n".join(map(str, errors)))
    if failed := run_rule_tests([rule]):
        common.fail("\n".join(map(str, failed)))
    return rule


async def _over_history(settings: Settings, trial: Trial, since: datetime) -> int:
    """Gives all that is stored since to the trial; how many rows could not be read."""
    from decnet.runtime.received import received

    unread = done = 0
    async with common.repository(settings) as repo:
        now = datetime.now(UTC)
        total = sum([await repo.replay_count(kind, since, now) for kind in repo.replay_kinds])
        with Bar("test") as bar:
            for kind in repo.replay_kinds:
                after = None
                while True:
                    page = await repo.replay_page(kind, since, now, after, _PAGE)
                    for event in page.events:
                        try:
                            trial.event(received(event))
                        except MalformedEvent:
                            unread += 1
                    done += page.rows
                    bar.part(done, total, kind)
                    if (after := page.after) is None:
                        break
    return unread


def _tell(told: dict[str, Any], rule: CompiledRule) -> None:
    kinds = " or ".join(sorted(rule.applies_to))
    tests = counted(len(rule.tests_match) + len(rule.tests_no_match), "own test")
    typer.echo(f"{rule.rule_id} {visible(rule.name, 80)}: loads, {tests} passed")
    if told["replaces_version"] is not None:
        typer.echo(
            f"stands for {rule.rule_id} version {told['replaces_version']}, which is in the rules: that one is not asked"
        )
    typer.echo(f"{counted(told['events'], 'stored event')} of kind {kinds} judged")
    for kind in sorted(rule.applies_to & _LIVE_ONLY.keys()):
        typer.echo(f"{_LIVE_ONLY[kind]} are not stored: what it does with them shows live only")
    if told["unreadable"]:
        typer.echo(f"{counted(told['unreadable'], 'stored row')} could not be read")
    if told["failures"]:
        typer.echo(f"a rule failed {counted(told['failures'], 'time')} on an event and said nothing of it")
    if not told["hits"]:
        typer.echo("it would tag nothing of that")
    else:
        _hits(told)
    cost = told["cost"]
    typer.echo(
        f"\ncost: {cost['us_an_event']:.2f} us an event, of {cost['us_all_rules']:.1f} us for all rules"
        f"{'' if told['events'] >= ENOUGH else ' (few events: start-up counts in)'};"
        f" looked at {counted(cost['looked_at'], 'text')}"
    )


def _hits(told: dict[str, Any]) -> None:
    techniques = ", ".join(f"{name} {count}" for name, count in told["techniques"].items())
    typer.echo(
        f"it would tag {counted(told['hits'], 'event')} ({techniques}) of {counted(told['sessions'], 'session')},"
        f" {counted(told['attackers'], 'attacker')}, {counted(told['decoys'], 'decoy')};"
        f" {told['alone']} of them no other rule tags"
    )
    shown = told["examples"]
    of = f"{len(shown)} of {told['different']}" if len(shown) < told["different"] else str(len(shown))
    typer.echo(f"\nexamples ({of} different):")
    common.print_rows(shown, ("seen", "text", "matched", "session_id", "line"), False, "", {"text": 70})
    if told["overlap"]:
        typer.echo("\noverlap: rules that tag the same events (same: with the same technique)")
        rows = [
            {**row, "share": f"{row['share']:.0%}", "same": row["same_technique"]}
            for row in told["overlap"][:20]
        ]
        common.print_rows(rows, ("rule_id", "name", "hits", "share", "same"), False, "")
