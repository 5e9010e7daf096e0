"""``rules new``: a rule file made from a stored session or from commands; reading, writing and telling only."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from decnet_tui.cli import common
from decnet_tui.cli.explaining import session_of
from decnet_tui.cli.offline import tagger_of

_RULE_ID = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


def new(
    source: Annotated[
        list[str],
        typer.Option(
            "--from",
            metavar="SESSION or COMMAND",
            help="The id of a stored session, or a command. Repeatable: lines typed one after the other, of which the last one is meant.",
        ),
    ],
    line: Annotated[
        int | None,
        typer.Option(
            min=1, help="The line of the session that is meant (default: the first that no rule tags)."
        ),
    ] = None,
    rule_id: Annotated[
        str | None, typer.Option("--id", help="Rule id (default: the next free X....).")
    ] = None,
    technique: Annotated[str | None, typer.Option(help="ATT&CK technique, such as T1105.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="FILE", help="A new file (default: standard output)."),
    ] = None,
    rules: common.RulesDir = None,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Writes a rule skeleton from what one sees: it loads and fires on that line, and says what is left to decide."""
    from decnet.ttp.drafting import NothingToDraft, draft

    if rule_id is not None and not _RULE_ID.fullmatch(rule_id):
        raise typer.BadParameter("a rule id is letters, digits, - and _, a letter first")
    settings = common.settings_of(config, rules=rules, data_dir=data_dir, db=db)
    session, stored = session_of(settings, source)
    wanted = line if line is not None or stored else len(source)
    try:
        made = draft(tagger_of(settings), session, line=wanted, rule_id=rule_id, technique=technique)
    except NothingToDraft as error:
        common.fail(f"{' '.join(source)[:80]}: {error}")
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if out is None:
        typer.echo(made.text, nl=False)
        return
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(made.text)
    except FileExistsError:
        common.fail(f"{out} is there already: choose another name")
    except OSError as error:
        common.fail(f"{out}: cannot be written: {error.strerror}")
    typer.echo(f"{out}: a draft from line {made.line}; next `decnet-tui rules test {out}`")
