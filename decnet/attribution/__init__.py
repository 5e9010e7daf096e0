"""Attribution: what an identity's behaviour looks like, and whether several people share one identity."""

from decnet.attribution.mergers import (
    STATES,
    Profile,
    aggregate_observations,
    merge_categorical,
    merge_hash,
    merge_numeric,
)

__all__ = [
    "STATES",
    "Profile",
    "aggregate_observations",
    "merge_categorical",
    "merge_hash",
    "merge_numeric",
]
