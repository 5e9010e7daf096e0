"""Every number that attribution decides by, with its unit and where it comes from.

They are starting points of the design (docs: "Mergers", "Multi-actor, honestly"), not laws; the
simulator in the tests measures what they cost and give.
"""

from __future__ import annotations

WINDOW = 5
"""Observations that say what is; as many before them say what was."""
ROWS_READ = 2 * WINDOW
"""Observations read for a merge of categories or numbers."""
HASH_ROWS_READ = 64
"""Observations read for a merge of hashes: a day of a busy identity is cut here."""
LATE_ROWS_READ = 200
"""Observations read when one comes late, to find again since when the state has been what it is."""
MIN_OBSERVATIONS = 3
"""Below, nothing is known."""
CLEAR_COUNT = 4
"""A window is clear when its top value has this many of it (all of it, when the window is smaller)."""
MULTI_ACTOR_RETURNS = 2
"""How often one of two modes must have come back in a window for a hint at two actors."""
EWMA_ALPHA = 0.3
"""Weight of the newest number."""
CV_CONFLICTED = 1.0
"""Coefficient of variation beyond which numbers contradict each other."""
CONFLICTED_NUMERIC_CONFIDENCE = 0.5
"""Confidence in a number whose window is conflicted."""
SHIFT_DRIFTING = 0.30
"""Relative shift of the mean against the earlier window from which a number drifts."""
HASH_WINDOW_SECS = 86_400.0
"""Seconds before the newest observation within which hashes are compared."""
HASH_DRIFTING_MAX = 3
"""More distinct hashes than this in a window are a conflict."""
SIMHASH_BITS = 6
"""Two locality-sensitive hashes of one typist are "typically <6 bits apart" (registry, motor.digraph_simhash)."""

MULTI_ACTOR_MAX_CONFIDENCE = 0.6
"""No claim about several actors is surer than this, 0..1."""
MULTI_ACTOR_MIN_PRIMITIVES = 2
"""An alert names at least this many primitives."""
MULTI_ACTOR_TICK_SECS = 60.0
"""Seconds between ticks."""
MULTI_ACTOR_SESSIONS = 64
"""Newest sessions of an identity that are compared."""
MIN_SESSIONS = 6
"""Fewer sessions say nothing about who comes."""
MIN_SWITCHES = 3
"""Changes of side; a handover is one, a visit and back two."""
MAX_EXCEPTIONS = 0.1
"""Share of sessions (two at least) that may be exceptions from one habit, or from one change of habits."""
MIN_LOG10_BAYES = 3.0
"""log10 of the Bayes factor before the price of the pairs that were tried."""
MIN_AGREEMENT = 0.9
"""Share of sessions in which a family must be on the side of the shared assignment."""
MIN_COVERAGE = 0.5
"""Share of the sessions in which a family must have been measured to count."""
MIN_WITNESSES = 2
"""Families from different groups (see ``readings``) that must agree."""
HALF_LIFE_SECS = 30 * 86_400.0
"""Event time after which a session weighs half, counted back from the newest one."""
SMOOTHING = 0.2
"""Dirichlet pseudo-count of every value: below Jeffreys' 0.5, since one operator mostly has one way."""
HOURS_MIN_SESSIONS = 20
"""Sessions before hours of the day count."""
HOURS_MIN_DAYS = 5
"""Days with sessions before hours of the day count."""
SEEDS = 4
"""Starting assignments that are improved."""
SWEEPS = 4
"""Passes over all sessions in one improvement."""
