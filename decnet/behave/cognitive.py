"""cognitive.*: pace between commands, order of tools, answers to failure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import pairwise
from statistics import fmean, median

from decnet.behave import lexicon
from decnet.behave import thresholds as t
from decnet.behave.evidence import Command, Evidence
from decnet.behave.keys import KeyFacts
from decnet.behave.measures import Finding, deviation, grade, logs, pearson, sure, two_groups, variation
from decnet.behave.motor import typed_lines

_PHASES = {"recon": 0, "fetch": 1, "persistence": 2, "lateral": 3, "exfil": 4, "destructive": 5, "cleanup": 6}
_LATENCIES = ("instant", "typing_speed", "llm_lightweight", "llm_heavyweight", "long")
_LEAST_GAP_S = 0.001


def cognitive(found: Evidence) -> Iterator[Finding]:
    """The cognitive primitives that this session gives."""
    yield from _pace(found)
    if len(found.commands) >= t.MIN_COMMANDS_CONTENT:
        yield from _content(found.commands)
    yield from _failures(found)
    if found.keys is not None:
        yield from _feedback(found.keys)
        yield from _load(found.keys)


def working_commands(found: Evidence) -> list[Command]:
    """Commands without the closing exit or logout."""
    return [c for c in found.commands if c.parsed.name not in lexicon.LEAVING]


def _pace(found: Evidence) -> Iterator[Finding]:
    gaps = found.gaps
    if len(found.commands) >= t.MIN_COMMANDS_LATENCY:
        label = grade(median(gaps), t.LATENCY_BOUNDS, _LATENCIES)
        keys = found.keys
        if label.startswith("llm_") and keys is not None and keys.live > keys.pasted:
            label = "deliberate"  # the same bands; keys struck by hand tell a person from an agent
        yield "cognitive.inter_command_latency_class", label, sure(len(gaps), 3)
    if len(gaps) >= t.MIN_GAPS_CONSISTENCY:
        yield "cognitive.inter_command_consistency", _consistency(gaps), sure(len(gaps), 5)


def _consistency(gaps: list[float]) -> str:
    if variation(gaps) < t.METRONOMIC_CV:
        return "metronomic"
    if len(gaps) >= t.MIN_GAPS_BIMODAL:
        low, high = two_groups(logs(gaps, _LEAST_GAP_S))
        apart = fmean(high) - fmean(low)
        spread = max((deviation(low) * len(low) + deviation(high) * len(high)) / len(gaps), 0.05)
        enough = min(len(low), len(high)) >= t.BIMODAL_SHARE * len(gaps)
        if enough and 2**apart >= t.BIMODAL_RATIO and apart / spread >= t.BIMODAL_SEPARATION:
            return "bimodal"
    return "variable"


def _content(commands: list[Command]) -> Iterator[Finding]:
    confidence = sure(len(commands), 6)
    names = [command.parsed.name for command in commands if command.parsed.name]
    if len(names) >= t.MIN_COMMANDS_CONTENT:
        tools = {name for command in commands for name in command.parsed.names}
        bounds = (t.VOCABULARY_NARROW + 1, t.VOCABULARY_BROAD)
        yield (
            "cognitive.tool_vocabulary",
            grade(len(tools), bounds, ("narrow", "moderate", "broad")),
            confidence,
        )
        ratio = len(set(names)) / len(names)
        if ratio >= t.BRANCH_LINEAR_RATIO:
            branching = "linear_playbook"
        else:
            branching = "adaptive_branching" if ratio <= t.BRANCH_ADAPTIVE_RATIO else "unknown"
        yield "cognitive.command_branch_diversity", branching, confidence
        yield "cognitive.exploration_style", _exploration(names), confidence
    yield "cognitive.planning_depth", _planning(commands), round(confidence * 0.8, 4)


def _exploration(names: list[str]) -> str:
    groups = [group for name in names if (group := lexicon.GROUP_OF.get(name))]
    if len(groups) / len(names) < t.TARGETED_RECON_SHARE:
        return "targeted"
    runs = 1 + sum(before != after for before, after in pairwise(groups))
    returns = (runs - len(set(groups))) / len(groups)
    return "methodical" if returns <= t.METHODICAL_RETURN_SHARE else "chaotic"


def _planning(commands: list[Command]) -> str:
    """Phases in order are a plan; answers to failures are none."""
    answered = sum(c.failed is True for c in commands[:-1])
    if answered / len(commands) >= t.REACTIVE_SHARE:
        return "reactive"
    phases = [_PHASES[c.parsed.phase] for c in commands if c.parsed.phase in _PHASES]
    steps = [after - before for before, after in pairwise(phases)]
    forward = sum(step >= 0 for step in steps) / len(steps) if steps else 0.0
    deep = len(set(phases)) >= t.DEEP_PHASES and forward >= t.DEEP_FORWARD_SHARE
    return "deep" if deep else "shallow"


def _failures(found: Evidence) -> Iterator[Finding]:
    commands = working_commands(found)
    failed = [i for i, command in enumerate(commands) if command.failed]
    answers = Counter(_answer(commands[i], commands[i + 1]) for i in failed if i + 1 < len(commands))
    if answers:
        tactic = max(sorted(answers), key=lambda label: answers[label])
        yield "cognitive.error_resilience.retry_tactic", tactic, sure(sum(answers.values()), 3)
    helped = any(lexicon.asks_for_help(command.parsed.words) for command in commands)
    if answers or (helped and len(commands) >= t.MIN_COMMANDS_CONDUCT):
        label = "present" if helped else "absent"
        yield "cognitive.error_resilience.fallback_to_man", label, sure(len(failed) + helped, 3)
    if found.keys is not None:
        yield from _frustration(found.keys)


def _answer(failed: Command, following: Command) -> str:
    """What the next command does about a failed one."""
    old, new = failed.parsed, following.parsed
    if old.text.strip() == new.text.strip():
        return "rerun"
    if old.name == new.name or _misspelt(old.name, new.name):
        return "modify"
    same_kind = old.phase == new.phase and old.phase not in ("other", "recon")
    same_arguments = bool(set(old.words[1:]) & set(new.words[1:]))
    return "switch" if same_kind or same_arguments else "abort"


def _misspelt(old: str, new: str) -> bool:
    """Whether the new name corrects a slip in the old one."""
    return min(len(old), len(new)) > 2 and SequenceMatcher(None, old[:32], new[:32]).ratio() >= t.MISSPELT_RATIO  # fmt: skip


def _frustration(keys: KeyFacts) -> Iterator[Finding]:
    """Lines after a failure against the others: faster, and with more deletions?"""
    lines = [line for line in keys.lines if line.kind == "command"]
    after = [b for a, b in pairwise(lines) if a.failed and b.gaps]
    rest = [b for a, b in pairwise(lines) if not a.failed and b.gaps and b.live > b.pasted]
    if len(after) < t.VENTING_FAILURES or len(rest) < t.MIN_LINES:
        return
    pace = [2 ** (sum(x.gap_logs for x in some) / sum(x.gaps for x in some)) for some in (after, rest)]
    slips = [sum(x.deletions for x in some) / sum(x.live for x in some) for some in (after, rest)]
    faster = pace[1] / pace[0] >= t.SPEED_SPIKE
    worse = slips[0] >= max(2 * slips[1], t.ERROR_LOW)
    label = ("low", "moderate", "high")[faster + worse]
    yield "cognitive.error_resilience.frustration_typing", label, sure(len(after), 4, 0.8)


def _feedback(keys: KeyFacts) -> Iterator[Finding]:
    pairs = [
        (float(line.shown), min(line.pause, t.MAX_READING_PAUSE_S))
        for line in keys.lines[1:]
        if line.pause is not None and line.shown
    ]
    if len(pairs) < t.MIN_FEEDBACK_SAMPLES:
        if keys.lines:
            yield "cognitive.feedback_loop_engagement", "unknown", 0.1
        return
    r = pearson(pairs)
    label = "closed_loop" if r is not None and r >= t.FEEDBACK_R else "fire_and_forget"
    yield "cognitive.feedback_loop_engagement", label, sure(len(pairs), 10, 0.8)


def error_rate(keys: KeyFacts) -> float:
    """Corrections per struck character."""
    return (keys.immediate + keys.deferred + keys.kills + keys.abandoned) / max(keys.live, 1)


def _load(keys: KeyFacts) -> Iterator[Finding]:
    """Long pauses, slips and fragments, a point each; two and more are high."""
    lines = typed_lines(keys)
    pauses = [line.pause for line in lines if line.pause is not None]
    if keys.rhythm.count < t.MIN_LIVE_KEYS_AFFECT or len(pauses) < t.MIN_LINES:
        return
    points = (median(pauses) >= t.PAUSE_LONG_S) + (error_rate(keys) >= t.ERROR_HIGH)
    points += sum(line.pauses > 0 for line in lines) / len(lines) >= t.FRAGMENTED_SHARE
    points += variation(pauses) >= 1.0
    yield (
        "cognitive.cognitive_load",
        ("low", "medium", "high")[min(points, 2)],
        sure(keys.rhythm.count, 120, 0.8),
    )
