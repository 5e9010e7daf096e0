"""Who belongs together: identities (one hand) and campaigns (one kit) from what sessions left; pure.

No database, no bus and no clock: sessions go in one by one, what they change comes out. Keeping it and telling
others is left to who runs it.
"""

from decnet.attribution.linking.features import Features, Login, features_of
from decnet.attribution.linking.linker import Change, Linker
from decnet.attribution.linking.numbers import Thresholds
from decnet.attribution.linking.scoring import Against, Reason, Score
from decnet.attribution.linking.state import (
    Changes,
    Restoring,
    State,
    changes_of,
    identities_of,
    restored,
    state_of,
    term_id,
)
from decnet.attribution.linking.told import IdentityTold, identity_told

__all__ = [
    "Against",
    "Change",
    "Changes",
    "Features",
    "IdentityTold",
    "Linker",
    "Login",
    "Reason",
    "Restoring",
    "Score",
    "State",
    "Thresholds",
    "changes_of",
    "features_of",
    "identities_of",
    "identity_told",
    "restored",
    "state_of",
    "term_id",
]
