"""The rules of the settings for commands that judge without an engine; what does not load is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from decnet.errors import DecnetError
from decnet.home import cache_dir
from decnet.hostile import visible
from decnet_tui.cli import common

if TYPE_CHECKING:
    from decnet.config import Settings
    from decnet.home import Home
    from decnet.ttp.offline import OfflineTagger


def tagger_of(home: Home | Settings) -> OfflineTagger:
    """A tagger with the rules of the settings; ends the command when there are none."""
    from decnet.ttp.offline import OfflineTagger

    try:
        tagger = OfflineTagger(home.rules, kept=cache_dir(home.data_dir))
    except DecnetError as error:
        common.fail(str(error))
    for problem in tagger.errors:
        typer.echo(f"warning: {visible(problem)}", err=True)
    if not tagger.index:
        common.fail(f"no rules loaded from {home.rules}: nothing is judged")
    return tagger
