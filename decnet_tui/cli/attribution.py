"""Who is behind it: states of primitives, alerts; and what operators make of an alert."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from decnet.errors import DecnetError
from decnet.hostile import visible
from decnet_tui.cli import common
from decnet_tui.model.actor_names import actor_label, addresses
from decnet_tui.model.alert_page import days_lines, strength_line, table_lines
from decnet_tui.model.alert_words import closed_as, verdict_named
from decnet_tui.model.event_text import short
from decnet_tui.model.identities import identity_meant
from decnet_tui.model.notes import note_line

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository
    from decnet.db.rows.alertpage import AlertPage
    from decnet.db.rows.attribution import Alert, ListedState

Attacker = Annotated[str | None, typer.Option("--attacker", help="Address, uuid or the beginning of one.")]
Session = Annotated[
    str | None, typer.Option("--session", help="Session id, its beginning, or the honeypot's own.")
]
Identity = Annotated[
    str | None,
    typer.Option("--identity", help="Id of an identity, its beginning, or one of its addresses."),
]
State = Annotated[str | None, typer.Option("--state", help="open, acknowledged or resolved.")]
AlertId = Annotated[str, typer.Argument(help="alert_id as `alerts` lists it, or its beginning")]

ALERT_ROW = (
    "alert_id",
    "identity_uuid",
    "attacker_uuids",
    "primitives",
    "families",
    "sides",
    "confidence",
    "state",
    "ts",
)
_EMPTY = "nothing yet that fits: attribution needs observations; give the engine a log with --sensor cowrie=PATH, or try --demo"
_NO_ALERTS = "no alerts: no identity looks like several operators"
_UNKNOWN = "no alert {}; `decnet-tui alerts` lists them"
alerts_app = typer.Typer(
    name="alerts",
    help="Alerts about identities that several operators may share.",
    invoke_without_command=True,
    rich_markup_mode=None,
)


def attribution(
    since: common.Since = None,
    attacker: Attacker = None,
    identity: Identity = None,
    limit: common.Limit = 100,
    ignored: common.Ignored = False,
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """What every primitive of every identity looks like now, the last observed first."""
    home = common.home_of(config, data_dir=data_dir, db=db)
    newest = common.parse_since(since)

    async def ask() -> list[ListedState]:
        async with common.repository(home, only_read=True) as repo:
            named = None if identity is None else (await identity_meant(repo, identity))[0]
            return await repo.list_attribution(newest, attacker, named, limit, ignored)

    columns = (
        "identity_uuid",
        "primitive",
        "state",
        "current_value",
        "confidence",
        "observation_count",
        "last_observation_ts",
    )
    common.print_rows(common.run(ask), columns, as_json, _EMPTY)


@alerts_app.callback()
def alerts(
    ctx: typer.Context,
    since: common.Since = None,
    attacker: Attacker = None,
    session: Session = None,
    state: State = None,
    limit: common.Limit = 100,
    ignored: common.Ignored = False,
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Alerts, newest first."""
    if ctx.invoked_subcommand is not None:
        ctx.obj = (config, data_dir, db)
        return
    from decnet.db.rows.attribution import STATES

    if state is not None and state not in STATES:
        raise typer.BadParameter(f"{state!r}: use {', '.join(STATES)}")
    home = common.home_of(config, data_dir=data_dir, db=db)
    newest = common.parse_since(since)

    async def ask() -> tuple[list[Alert], Mapping[str, str]]:
        async with common.repository(home, only_read=True) as repo:
            named = session and (await repo.session_named(session) or session)
            rows = await repo.list_alerts(newest, attacker, named, state, limit, ignored)
            return rows, {} if as_json else await addresses(repo, rows)

    found, known = common.run(ask)
    rows: list[Mapping[str, object]] = [alert_fields(row) for row in found]
    columns = ("ts", "state", "confidence", "families", "sessions", "actor", "identity", "alert_id")
    shown = rows if as_json else [_for_people(row, known) for row in found]
    common.print_rows(shown, columns, as_json, _NO_ALERTS)


def alert_fields(row: Alert) -> Mapping[str, object]:
    """What the list of alerts says of one."""
    fields: Mapping[str, object] = row
    return {name: fields[name] for name in ALERT_ROW}


def _for_people(row: Alert, known: Mapping[str, str]) -> Mapping[str, object]:
    """With the actor's addresses; a short id tells two identities behind one address apart."""
    return {
        **row,
        "sessions": _sizes(row),
        "actor": actor_label(row, known),
        "identity": short(row["identity_uuid"]),
    }


def _sizes(row: Alert) -> str:
    return "+".join(str(len(side)) for side in row["sides"] or ())


@alerts_app.command("show")
def show(
    ctx: typer.Context,
    alert_id: AlertId,
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """What an alert claims, why, what speaks against it, and what it cannot tell."""
    config, data_dir, db = _own_or_given(ctx, config, data_dir, db)
    home = common.home_of(config, data_dir=data_dir, db=db)

    async def ask() -> AlertPage:
        async with common.repository(home, only_read=True) as repo:
            page = await repo.alert_page((await _meant(repo, alert_id))["alert_id"])
            if page is None:
                raise DecnetError(_UNKNOWN.format(visible(alert_id, 80)))
            return page

    page = common.run(ask)
    if as_json:
        typer.echo(common.to_json({**page["alert"], "notes": page["notes"]}))
        return
    typer.echo("\n".join(visible(line) for line in _explained(page)))


def _explained(page: AlertPage) -> list[str]:
    row, told = page["alert"], page["alert"]["explanation"] or {}
    lines = [
        f"{actor_label(row, page['addresses'], limit=0)}  identity {row['identity_uuid']}",
        f"{closed_as(row)}, {len(row['sides'] or ())} sides of {_sizes(row)} sessions: {told.get('claim')}",
        *(f"  {line}" for line, _ in table_lines(page)),
        *(f"  {line}" for line in days_lines(page)),
        f"  {strength_line(row)}",
    ]
    lines += [
        f"  for: {item['family']} follows the sides in {item['agreement']:.0%} of sessions"
        for item in told.get("support", ())
    ]
    lines += [f"  against: {text}" for text in told.get("against", ())]
    if (link := told.get("link")) is not None:
        lines += [
            f"  link in doubt: {' '.join(side)} on side {number}"
            for number, side in enumerate(link["sides"], start=1)
        ]
    lines += [f"  cannot be told: {text}" for text in told.get("cannot_tell", ())]
    for number, side in enumerate(row["sides"] or (), start=1):
        lines += [f"  side {number}: {session}" for session in side]
    return [*lines, *(f"  note {note_line(note)}" for note in page["notes"])]


@alerts_app.command("ack")
def ack(
    ctx: typer.Context,
    alert_id: AlertId,
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Notes that somebody looks into an alert."""
    _print_outcome(alert_id, _set_state(ctx, alert_id, "acknowledged", config, data_dir, db), as_json)


@alerts_app.command("resolve")
def resolve(
    ctx: typer.Context,
    alert_id: AlertId,
    verdict: Annotated[
        str | None, typer.Option("--verdict", help="What was found: two people; one, two tools; or wrong.")
    ] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="A note that stays on the alert.")] = None,
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Closes an alert; it stays closed while the evidence is the same."""
    try:
        found = verdict_named(verdict) if verdict is not None else None
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    _print_outcome(
        alert_id, _set_state(ctx, alert_id, "resolved", config, data_dir, db, found, reason), as_json
    )


@alerts_app.command("reopen")
def reopen(
    ctx: typer.Context,
    alert_id: AlertId,
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Opens a resolved alert again, while its evidence stands."""
    _print_outcome(alert_id, _set_state(ctx, alert_id, "open", config, data_dir, db), as_json)


def _own_or_given(ctx: typer.Context, *own: Any) -> tuple[Any, ...]:
    """Options of the command itself, else those that stand before it."""
    return tuple(mine or given for mine, given in zip(own, ctx.obj or (None, None, None), strict=True))


def _set_state(
    ctx: typer.Context,
    alert_id: str,
    state: str,
    config: Any,
    data_dir: Any,
    db: Any,
    verdict: str | None = None,
    reason: str | None = None,
) -> str:
    """The state that the alert has now."""
    config, data_dir, db = _own_or_given(ctx, config, data_dir, db)
    settings = common.settings_of(config, data_dir=data_dir, db=db)

    async def change() -> None:
        from decnet_tui.actions.alerts import AlertState
        from decnet_tui.cli import changing

        async with changing.opened(settings) as session:
            row = await _meant(session.store, alert_id)
            known = await addresses(session.store, [row])
            label = actor_label(row, known, 1)
            await changing.perform(session, AlertState(row["alert_id"], label, state, reason, verdict))

    common.run(change)
    return state


async def _meant(repo: BaseRepository, text: str) -> Alert:
    """The alert of that id, or whose id begins so. Raises DecnetError for none and for several."""
    row = await repo.get_alert(await repo.alert_named(text) or text)
    if row is None:
        raise DecnetError(_UNKNOWN.format(visible(text, 80)))
    return row


def _print_outcome(alert_id: str, state: str, as_json: bool) -> None:
    typer.echo(common.to_json({"alert_id": alert_id, "state": state}) if as_json else f"{alert_id}: {state}")


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(attribution)
    app.add_typer(alerts_app)
