"""``schema``: the JSON Schemas of the events, for whoever writes a producer or reads the bus."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(schema)


def schema(
    topic: Annotated[
        str | None,
        typer.Argument(help="A topic, such as attacker.session.ended; without one they are listed."),
    ] = None,
) -> None:
    """JSON Schemas of the events."""
    from decnet.events.schema import schema_of
    from decnet.events.topics import RECORDS, pattern_of

    if topic is None:
        for pattern, record in RECORDS.items():
            told = (record.__doc__ or "").partition(":")[2].strip().splitlines()
            typer.echo(f"{pattern:<44}{told[0] if told else ''}".rstrip())
        return
    asked = pattern_of(topic)
    if asked is None:
        raise typer.BadParameter(f"no event has the topic {topic!r:.80}; `decnet-tui schema` lists them")
    typer.echo(json.dumps(schema_of(asked), indent=2))
