"""Substrates: what makes a decky run its services."""

from __future__ import annotations

from typing import TYPE_CHECKING

from decnet.config import Settings
from decnet.mutator.substrate.base import Substrate
from decnet.mutator.substrate.compose import ComposeSubstrate
from decnet.mutator.substrate.dry_run import DryRunSubstrate
from decnet.mutator.substrate.opencanary import OpenCanarySubstrate
from decnet.mutator.substrate.own import OwnDecoys, WithOwnDecoys
from decnet.services import Catalogue

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository


def make_substrates(settings: Settings, catalogue: Catalogue, repo: BaseRepository) -> dict[str, Substrate]:
    """Every substrate by name."""
    own = OwnDecoys(settings, catalogue, repo)
    return {
        "compose": ComposeSubstrate(settings.mutator, settings.data_dir, catalogue),
        "opencanary": WithOwnDecoys(OpenCanarySubstrate(settings, catalogue), own, catalogue),
        "dry_run": DryRunSubstrate(settings.data_dir / "fleet" / "dry_run"),
    }
