"""Substrates: what makes a decky run its services."""

from __future__ import annotations

from decnet.config import Settings
from decnet.mutator.substrate.base import Substrate
from decnet.mutator.substrate.compose import ComposeSubstrate
from decnet.mutator.substrate.dry_run import DryRunSubstrate
from decnet.mutator.substrate.opencanary import OpenCanarySubstrate
from decnet.services import Catalogue


def make_substrates(settings: Settings, catalogue: Catalogue) -> dict[str, Substrate]:
    """Every substrate by name."""
    return {
        "compose": ComposeSubstrate(settings.mutator, settings.data_dir, catalogue),
        "opencanary": OpenCanarySubstrate(settings, catalogue),
        "dry_run": DryRunSubstrate(settings.data_dir / "fleet" / "dry_run"),
    }
