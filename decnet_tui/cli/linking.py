"""``identities link``, ``unlink``, ``unsay`` and ``relink``: what operators say above the evidence, and all read anew.

The word is kept in the database; who links takes it over within seconds: the engine that runs, or this process when
none does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from decnet.errors import DecnetError
from decnet.hostile import visible
from decnet_tui.actions import links
from decnet_tui.cli import changing, common
from decnet_tui.cli.bar import Bar
from decnet_tui.model import identities as linked
from decnet_tui.model.words import counted

if TYPE_CHECKING:
    from decnet.attribution.link_job import LinkJob
    from decnet.config import Settings
    from decnet.db.repository import BaseRepository

One = Annotated[
    str, typer.Argument(metavar="A", help="An address, or an identity by its id or its beginning.")
]
Other = Annotated[str, typer.Argument(metavar="B", help="The other one.")]
Reason = Annotated[
    str | None, typer.Option("--reason", help="Why; it stands in the journal and on the page.")
]
PATIENCE_S = 20.0
"""Seconds that an engine may take to take a word over."""
LOOK_S = 0.25
_WORKER = "attribution"


def link(
    ctx: typer.Context,
    one: One,
    other: Other,
    reason: Reason = None,
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Says that two addresses are one hand, whatever the evidence says."""
    _say(_settings(ctx, config, data_dir, db), one, other, True, reason, as_json)


def unlink(
    ctx: typer.Context,
    one: One,
    other: Other,
    reason: Reason = None,
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Says that two addresses are not one hand, whatever the evidence says."""
    _say(_settings(ctx, config, data_dir, db), one, other, False, reason, as_json)


def unsay(
    ctx: typer.Context,
    one: One,
    other: Other,
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Takes back what was said of two addresses: the evidence alone decides again."""
    _say(_settings(ctx, config, data_dir, db), one, other, None, None, as_json)


def relink(
    ctx: typer.Context,
    as_json: common.AsJson = False,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Reads all stored sessions anew and works out again who belongs together; ids and what operators said stay."""
    settings = _settings(ctx, config, data_dir, db)

    async def work() -> dict[str, int]:
        _need_linking(settings)
        async with common.repository(settings) as repo:
            wish = await repo.link_wish_relink()

            async def done() -> bool:
                return (await repo.link_version()).relinked >= wish

            with Bar("relink") as bar:
                await _linked(repo, settings, done, None, lambda job: _show(repo, bar, job))
            return await _figures(repo)

    found = common.run(work)
    if as_json:
        typer.echo(common.to_json(found))
        return
    typer.echo(
        f"{counted(found['sessions'], 'session')} read anew: "
        f"{counted(found['joined'], 'identity', 'identities')} of several addresses, "
        f"{counted(found['campaigns'], 'campaign')}"
    )


async def _figures(repo: BaseRepository) -> dict[str, int]:
    joined = await repo.list_identities(joined=True, limit=0, ignored=True)
    campaigns = await repo.list_campaigns(limit=0, ignored=True)
    return {"sessions": await repo.ended_count(), "joined": len(joined), "campaigns": len(campaigns)}


async def _show(repo: BaseRepository, bar: Bar, job: LinkJob) -> None:
    """How far it is: by what this process does itself, or what the engine's worker says."""
    if job.relinking is not None:
        bar.part(*job.relinking, "sessions read")
        return
    beats = await repo.heartbeats()
    said = next((beat["payload"] or {} for beat in beats if beat["worker"] == _WORKER), {})
    done, _, total = str(said.get("relinking", "")).removesuffix(" sessions").partition(" of ")
    if done.isdigit() and total.isdigit():
        bar.part(int(done), int(total), "sessions read by the engine")


def _settings(ctx: typer.Context, config: Any, data_dir: Any, db: Any) -> Settings:
    given: tuple[Any, Any, Any] = ctx.obj or (None, None, None)
    return common.settings_of(config or given[0], data_dir=data_dir or given[1], db=db or given[2])


def _need_linking(settings: Settings) -> None:
    if not settings.linking.enabled:
        raise DecnetError("linking is off (setting linking.enabled): nobody would take this over")


def _say(
    settings: Settings, one: str, other: str, same: bool | None, reason: str | None, as_json: bool
) -> None:
    told = common.run(lambda: _said(settings, one, other, same, reason))
    if as_json:
        typer.echo(common.to_json(told))
        return
    for line in _lines(told):
        typer.echo(visible(line))


async def _said(
    settings: Settings, one: str, other: str, same: bool | None, reason: str | None
) -> dict[str, Any]:
    from decnet_tui.actions.links import LinkWord

    _need_linking(settings)
    async with changing.opened(settings) as session:
        repo = session.store
        first, second = await links.meant(repo, one), await links.meant(repo, other)
        pair = (first.attacker, second.attacker)
        version = (await repo.link_version()).version
        if same is None and await repo.word_on_link(*pair) is None:
            raise DecnetError(f"nothing was said of {first.address} and {second.address}")
        word = LinkWord(first.address, second.address, pair, same, reason)
        await changing.perform(session, word)

        async def done() -> bool:
            if same is None:
                return (await repo.link_version()).version > version
            return same == (len(set((await repo.identities_of_attackers(pair)).values())) == 1)

        over = await _linked(repo, settings, done, PATIENCE_S)
        names = await repo.identities_of_attackers(pair)
        return {
            "one": first.address,
            "other": second.address,
            "same": same,
            "identities": [names.get(who) for who in pair],
            "taken_over": over,
        }


def _lines(told: dict[str, Any]) -> list[str]:
    one, other = told["one"], told["other"]
    mine, theirs = told["identities"]
    if told["same"] is not None and not told["taken_over"]:
        return [
            f"{one} and {other}: kept, but they are not that yet: what else was said stands against it (`decnet-tui identity "
            f"{one}`), or no engine has taken it over (`decnet-tui workers`)"
        ]
    if mine == theirs:
        return [f"{one} and {other} are one identity: {linked.identity_label(mine)}"]
    labels = f"{linked.identity_label(mine)} and {linked.identity_label(theirs)}"
    return [f"{one} and {other} are two identities: {labels}"]


async def _linked(
    repo: BaseRepository,
    settings: Settings,
    done: Callable[[], Awaitable[bool]],
    patience_s: float | None,
    show: Callable[[LinkJob], Awaitable[None]] | None = None,
) -> bool:
    """Waits until an engine has linked, or does it here when none links; whether it is done."""
    from decnet.attribution.link_job import LinkJob  # here: other commands start sooner

    job, until = LinkJob(settings), None if patience_s is None else time.monotonic() + patience_s
    try:
        while not await done():
            if until is not None and time.monotonic() >= until:
                return False
            running = asyncio.ensure_future(job.run(repo))
            while not running.done():
                await asyncio.wait([running], timeout=LOOK_S)
                if show is not None:
                    await show(job)
            await running
            await asyncio.sleep(LOOK_S)
        return True
    finally:
        await job.leave(repo)


def register(group: typer.Typer) -> None:
    """Adds the commands to those of identities."""
    for command in (link, unlink, unsay, relink):
        group.command()(command)
