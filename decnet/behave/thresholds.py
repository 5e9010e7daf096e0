"""Every threshold of the extractor, with its source.

"registry" is the note of the primitive in ``behave_shell.spec.primitives``; "page" is a figure that the
design of this project fixes; "own" is a starting point of ours where the registry gives words and no
number. Times are seconds unless a name says otherwise. They are constants and no settings, because a
value depends on them: who changes one raises EXTRACTOR_VERSION.
"""

from __future__ import annotations

# How much is read of one session (own: bounds of work, far beyond any real session).
MAX_COMMANDS = 5_000
MAX_COMMAND_TEXT = 4_096
MAX_COMMANDS_TEXT = 524_288
MAX_INPUT_BYTES = 1_048_576
MAX_LINES = 20_000
MAX_LIST_VALUES = 64
MAX_VALUE_CHARS = 255
RECORDING_SLACK_S = 300.0
"""own: a recording whose times lie outside the session by more belongs to another session (same input)."""

# What can be measured at all.
MIN_COMMANDS_CONDUCT = 2
"""page: a single command gives client, playbook, objective, duration and pipe depth only."""
MIN_COMMANDS_LATENCY = 3
"""page: latency needs three commands."""
MIN_COMMANDS_CONTENT = 5
"""page: vocabulary, branching and exploration need five."""
MIN_GAPS_CONSISTENCY = 3
"""own: a dispersion of fewer than three pauses says nothing."""
MIN_GAPS_BIMODAL = 8
"""own: two modes need several pauses on either side."""
MIN_LIVE_GAPS = 30
"""own: rhythm of fewer keys is noise."""
MIN_LIVE_KEYS_AFFECT = 60
"""own: affect and load are drawn from at least this many keys."""
MIN_KEYS_NO_CORRECTION = 100
"""own: at 1 to 3 % slips a hundred keys without a correction mean something."""
MIN_KEYS_NO_MULTIPLEXER = 200
"""own: absence of a prefix key counts after this many keys."""
MIN_LINES = 3
"""own: shares per line of fewer lines are coin flips."""
MIN_SIMHASH_GAPS = 50
"""registry: absent when a session has too few keystrokes; the figure is own."""
SIMHASH_LEVELS = (-4.5, -4.0, -3.5, -3.0, -2.5, -2.0, -1.5, -1.0, -0.5)
SIMHASH_SOFTNESS = 0.35
SIMHASH_LEAN = 8.0
"""own: levels in octaves of a second (0.04 to 0.7 s); chosen so that one simulated hand stays within the
registry's 6 bits (median) and hands of another pace do not."""
MIN_FEEDBACK_SAMPLES = 5
"""own: Pearson's r of fewer points is arbitrary; registry: unknown = insufficient samples."""
MIN_LAYOUT_ERRORS = 50
"""registry: reliable when error volume is sufficient (typically >50 errors in the session)."""
MIN_IDLE_GAPS = 4
"""own: regularity of fewer idle gaps cannot be told."""
MIN_MICRO_PAUSES = 6
"""own: the rank test below cannot reach p < 0.05 with fewer."""

# Between commands.
LATENCY_BOUNDS = (0.2, 2.0, 8.0, 30.0)
"""page and registry: instant, typing_speed, 2 to 8 s, 8 to 30 s, long."""
METRONOMIC_CV = 0.20
"""registry: metronomic by CV; the figure is own."""
BIMODAL_RATIO = 5.0
BIMODAL_SEPARATION = 3.0
BIMODAL_SHARE = 0.2
"""own: two groups of log pauses, each with a fifth of them, a factor of five and three deviations apart."""
BRANCH_LINEAR_RATIO = 0.8
BRANCH_ADAPTIVE_RATIO = 0.6
"""registry: 10 distinct tools of 10 are linear, 5 to 6 of about 10 adaptive; between is unknown."""
FEEDBACK_R = 0.3
"""registry: positive Pearson r; 0.3 (a moderate correlation) is own."""
MAX_READING_PAUSE_S = 60.0
"""own: a longer pause is an absence, not reading."""
VOCABULARY_NARROW, VOCABULARY_BROAD = 4, 12
"""registry: narrow is a small fixed toolset such as curl, grep, ls; the figures are own."""
TARGETED_RECON_SHARE = 0.34
METHODICAL_RETURN_SHARE = 0.34
"""own: exploring commands below a third mean a target; returns to a group left earlier above a third, chaos."""
DEEP_PHASES = 3
DEEP_FORWARD_SHARE = 0.8
REACTIVE_SHARE = 0.4
"""own: three phases in order with little backtracking; two in five commands answer a failure."""
MISSPELT_RATIO = 0.7
"""own: 'hsitory' and 'history' agree in six of seven letters, 'wegt' and 'wget' in three of four."""

# Sessions.
DURATION_BOUNDS = (15 * 60.0, 90 * 60.0, 4 * 3600.0)
"""page and registry: 15 min, 90 min, 4 h."""
PIPE_MODERATE, PIPE_DEEP = 2, 4
"""registry: 0 to 1, 2 to 3, 4+ pipes."""
IDLE_GAP_S = 30.0
"""registry: idle gaps >30s."""
IDLE_PERIODIC_CV = 0.2
"""own: variation below a fifth is regular."""
MICRO_PAUSE_S = (300.0, 900.0)
"""registry: pauses of 5-15 minutes."""
MICRO_PAUSE_CV = 0.35
"""own: exponential gaps have CV 1; six gaps below 0.35 have p < 0.01, within the registry's p<0.05."""
SUSTAINED_CV = 1.0
"""own: a constant random rate (Poisson) has CV 1."""
BURSTY_LULL_SHARE = 0.5
BURSTY_MAX_LULLS = 0.1
"""own: a tenth of the pauses (at least one) makes up at least half of the time."""
LANDING_WINDOW, LANDING_MIN = 6, 3
"""registry: a sequence such as whoami, id, uname, hostname, ip addr at session start; three of six is own."""
CLEANUP_WINDOW = 5
"""own: clearing up among the last five commands is clearing up before the exit."""

# Keys.
PASTE_GAP_S = 0.010
"""own: input bytes closer than this were not struck one by one (hands stay above 30 ms)."""
PASTE_MIN_CHARS = 12
"""own: shorter bursts are keys that the network delivered together."""
MODALITY_TYPED, MODALITY_PASTED = 0.1, 0.9
"""own: below a tenth pasted is typed, above nine tenths pasted."""
PASTE_HABITUAL = 0.5
"""registry: habitual = primarily works by pasting; half of the lines is own."""
IMMEDIATE_S = 1.0
"""page and registry: backspace within about 1 s."""
PAUSE_IN_LINE_S = 1.0
"""own: a pause within a line from here on is thinking, not striking."""
FRAGMENTED_SHARE = 0.4
"""own: two lines in five with a pause inside."""
CADENCE_MACHINE_CV = 0.10
CADENCE_STEADY_OCTAVES = 0.75
HUNT_MEDIAN_S = 0.40
BURSTY_PAUSE_SHARE = 0.04
"""own: hands vary by more than a tenth; a spread below 0.75 octaves is steady; 0.4 s a key is searching;
one key in 25 after a pause makes bursts."""
STABILITY_STEADY_OCTAVES = 0.6
TREMOR_AUTOCORRELATION = -0.4
MIN_TREMOR_GAPS = 100
"""own: spread of flight times within words; alternation of long and short is instability with a rhythm."""
TAB_HABITUAL, SHORTCUT_HEAVY = 0.5, 0.5
"""own: one in two lines."""
LONE_ESCAPE_S = 0.05
"""own: an escape sequence arrives whole; Escape pressed by hand is followed by the next key later."""
MIN_VI_KEYS = 3
LAYOUT_SHARE = 0.2
"""own: a fifth of the corrected letters swap the two layouts' keys."""

# Load and affect (all own: the registry gives words only).
ERROR_LOW, ERROR_HIGH = 0.03, 0.10
PAUSE_CALM_S, PAUSE_LONG_S = 3.0, 6.0
GAP_FAST_S, GAP_CALM_S = 0.11, 0.25
SPEED_SPIKE = 1.5
VENTING_DELETIONS = 6
VENTING_FAILURES = 2
HANDOFF_OCTAVES = 1.0
HANDOFF_T = 8.0
HANDOFF_LINES = 4
MIN_HANDOFF_GAPS = 150
"""own: a change of tempo by a factor of two that eight standard errors cannot explain, four lines on either side."""

# Running summaries of one attacker.
SUMMARY_SESSIONS = 512
"""own: newest sessions that a summary is made of; the cost does not grow with history."""
SUMMARY_MIN_SPAN_S = 7 * 86_400.0
"""own: where the newest sessions fill less than a week, the bound decides which hours are seen: no rhythm is told."""
SUMMARY_MIN_EVENTS, SUMMARY_MIN_SESSIONS = 5, 2
"""own: a histogram of less is a single visit."""
QUIET_SHARE = 0.10
QUIET_MIN_EVENTS, QUIET_MIN_DAYS = 30, 2
"""registry: below 10% of the peak bin; ≥30 command events across ≥2 active days."""
TIMING_MIN_EVENTS, TIMING_MIN_DAYS, TIMING_SHARE = 10, 3, 0.6
DAY_HOURS = range(9, 18)
NIGHT_HOURS = frozenset({22, 23, 0, 1, 2, 3, 4, 5})
"""registry: 09:00-18:00 and 22:00-06:00, local; the hours here are UTC, so confidence stays low."""
RESIDENT_DAYS, RESIDENT_SHARE, RESIDENT_HOURS = 7, 0.8, 8
"""registry: near-continuous presence; the figures are own."""
WEEKEND_MIN_SPAN_DAYS, WEEKEND_MIN_DAYS, WEEKEND_QUIET_SHARE, WEEKEND_UNIFORM_SHARE = 21, 10, 0.10, 0.20
"""registry: across multiple weeks; a weekend has 2/7 (29 %) of an even spread."""
BEACON_SESSIONS = 64
BEACON_MIN_INTERVALS = 5
BEACON_MERGE_S = 5.0
BEACON_MAX_CV = 0.5
BEACON_MIN_S = 10.0
"""own: connections within five seconds are one return; random returns have CV 1. registry: operators
set jitter to 20-50 %, and very short intervals are an interactive shell."""
SKEW_NONE_CV = 0.02
SKEW_MIN_INTERVALS = 20
SKEW_UNIFORM_KURTOSIS = -0.8
SKEW_WALK_CORRELATION = 0.5
"""own: a uniform spread has excess kurtosis -1.2, a normal one 0; successive intervals of a walk are alike."""
CONFIDENCE_HALF_EVENTS = 30.0
"""own: a summary of n events has confidence n / (n + 30). registry: weight thin histograms down."""
