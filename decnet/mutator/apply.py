"""Carries a change out: the substrate's part, between two transactions."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from decnet.errors import DatabaseError, SubstrateError
from decnet.logs import get_logger
from decnet.mutator.context import Job
from decnet.mutator.rows import leaves
from decnet.mutator.substrate.base import Substrate, Target

log = get_logger(__name__)


async def apply_change(
    substrates: Mapping[str, Substrate], job: Job, timeout_s: float
) -> tuple[list[str], str]:
    """(services that run afterwards, empty reason), or (nothing, why it failed). Raises DatabaseError."""
    target, wanted = Target.of(job.decky), bool(job.decky["wanted"])
    substrate = substrates[job.decky["substrate"]]
    try:
        async with asyncio.timeout(timeout_s):
            for name in leaves(job.decky):
                await substrates[name].remove(target)
            await (substrate.apply(target, job.new) if wanted else substrate.remove(target))
            observed = await substrate.observe(target)
    except SubstrateError as error:
        return [], str(error)
    except TimeoutError:
        return [], f"not done in {timeout_s:.0f} s"
    except DatabaseError:
        raise
    except Exception as error:  # a named boundary: one decky's substrate ends nothing else
        log.error("substrate failed", decky=job.name, exc_info=True)
        return [], f"{type(error).__name__}: {error}"
    if set(observed) != set(job.new):
        return [], f"runs {', '.join(observed) or 'nothing'} instead of {', '.join(job.new) or 'nothing'}"
    return observed, ""
