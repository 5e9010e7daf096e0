"""The mutator: a fleet of deckies, and the rotation of what they run."""

from __future__ import annotations

from decnet.mutator.worker import mutate_all, mutate_decky, run_watch_loop

__all__ = ["mutate_all", "mutate_decky", "run_watch_loop"]
