"""``watch`` and ``replay``: the bus as text or JSON lines, and recorded things put on it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from decnet.bus.base import BaseBus, Event, matches
from decnet.bus.factory import get_bus
from decnet.bus.wire import check_pattern
from decnet.config import Settings
from decnet.errors import DecnetError
from decnet.hostile import visible
from decnet_tui.cli import common
from decnet_tui.model.words import counted


def bus_settings(settings: Settings, url: str | None) -> Settings:
    """Settings that reach a running bus. Raises DecnetError when there is none."""
    if url:
        return settings.model_copy(update={"bus": settings.bus.model_copy(update={"url": url})})
    if settings.bus.url:
        return settings
    _, found = common.reach(settings)
    if found is None:
        raise DecnetError(
            f"no engine runs on {settings.data_dir}: start `decnet-tui --headless`, or name a bus with --bus"
        )
    return settings.model_copy(update={"bus": found.bus_settings(settings.bus)})


def watch(
    pattern: Annotated[str, typer.Argument(help="Topic pattern, for example 'ttp.>'.")] = ">",
    last: Annotated[int, typer.Option("--last", min=0, help="First the last N stored events.")] = 0,
    as_json: common.AsJson = False,
    bus: common.BusUrl = None,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Shows events as they come, until interrupted."""
    try:
        check_pattern(pattern)
    except ValueError as error:
        raise typer.BadParameter(f"{error}; write 'ttp.>' or 'system.*.health'") from error
    settings = common.settings_of(config, data_dir=data_dir, db=db)

    async def follow() -> None:
        client = get_bus(client_name="watch", settings=bus_settings(settings, bus))
        await client.connect()
        try:
            await _follow(client, pattern, last, as_json)
        finally:
            await client.close()

    common.run(follow)


async def _follow(client: BaseBus, pattern: str, last: int, as_json: bool) -> None:
    async with client.subscribe(pattern) as sub:
        seen = set()
        for event in await client.read_back(pattern, last) if last else []:
            seen.add((event.id, event.ts))
            _show(event, as_json)
        async for event in sub:
            if (event.id, event.ts) not in seen and matches(pattern, event.topic):
                _show(event, as_json)


def _show(event: Event, as_json: bool) -> None:
    from decnet_tui.model.feed import bounded

    event, _ = bounded(event)
    if as_json:
        fields = {"topic": event.topic, "type": event.type, "id": event.id, "ts": event.ts, "v": event.v}
        typer.echo(common.to_json({**fields, "payload": event.payload}))
        return
    from decnet_tui.model.event_text import summarise

    clock = time.strftime("%H:%M:%S", time.gmtime(event.ts))
    typer.echo(f"{clock} {visible(event.topic):<36} {summarise(event.topic, event.payload)}")


def replay(
    files: Annotated[list[Path], typer.Argument(help="Recorded events (JSON lines), or logs of honeypots.")],
    speed: Annotated[str, typer.Option("--speed", help="max, or a factor such as 1x or 10x.")] = "max",
    bus: common.BusUrl = None,
    data_dir: common.DataDir = None,
    config: common.ConfigFile = None,
    db: common.DbUrl = None,
) -> None:
    """Puts recorded events or honeypot logs on the bus; the same file twice adds nothing."""
    settings = common.settings_of(config, data_dir=data_dir, db=db)
    factor = _factor(speed)

    from decnet_tui.launch.playing import play

    refused: list[str] = []

    async def work() -> int:
        client = get_bus(client_name="replay", settings=bus_settings(settings, bus))
        await client.connect()
        try:
            return sum([await play(client, settings, path, factor, refused) for path in files])
        finally:
            await client.close()

    typer.echo(f"{counted(common.run(work), 'event')} on the bus")
    for fault in refused:
        typer.echo(f"warning: {visible(fault, 500)}", err=True)


def _factor(speed: str) -> float:
    """Seconds of recording for one second of playing; 0 is as fast as possible."""
    if speed == "max":
        return 0.0
    try:
        factor = float(speed.removesuffix("x"))
    except ValueError:
        factor = 0.0
    if not 0 < factor < float("inf"):  # neither NaN, which is less than nothing
        raise typer.BadParameter(f"--speed {speed!r}: write max, 1x or 10x")
    return factor


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(watch)
    app.command()(replay)
