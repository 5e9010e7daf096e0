"""The words for states, each with its glyph and its style: of workers and sensors, rules, alerts, decoys, changes.

One place for all views. The word always stands; glyph and colour come with it.
"""

from __future__ import annotations

from typing import TypeAlias

from rich.style import Style

from decnet.hostile import visible
from decnet_tui.model.alert_words import VERDICTS
from decnet_tui.model.journal import EXPIRED, End
from decnet_tui.widgets import glyphs
from decnet_tui.widgets.strips import BAD, FAINT, GOOD, PLAIN, WARN

Shown: TypeAlias = tuple[str, Style]
"""Glyph and word, and how they look."""


def worker_state(state: str) -> Shown:
    """The state of a worker, a part or a sensor."""
    g = glyphs.current()
    known: dict[str, Shown] = {
        "ok": (f"{g.on} ok", GOOD),
        "degraded": (f"{g.stale} degraded", WARN),
        "stale": (f"{g.stale} stale", BAD),
        "failed": (f"{g.failed} failed", BAD),
        "paused": (f"{g.off} paused", WARN),
        "waiting_for_bus": (f"{g.partly} no bus", WARN),
        "waiting_for_rules": (f"{g.partly} no rules", BAD),
        "waiting_for_database": (f"{g.partly} no db", BAD),
        "locked": (f"{g.stale} locked", BAD),
        "stopped": (f"{g.off} stopped", WARN),
        "starting": (f"{g.busy} starting", WARN),
        "stopping": (f"{g.busy} stopping", WARN),
        "silent": (f"{g.stale} silent", BAD),
        "missing": (f"{g.stale} missing", BAD),
        "unreadable": (f"{g.stale} unreadable", BAD),
    }
    return known.get(state, (f"{g.unknown} {visible(state, 9)}", BAD))


def rule_state(state: str, *, ceiling: float | None, broken: bool, fires: bool) -> Shown:
    """The state of a rule; ``ceiling`` is what a clipped one is clipped to, ``broken`` that it does not load."""
    g = glyphs.current()
    if broken:
        return f"{g.failed} failed", BAD
    if state == "disabled":
        return f"{g.off} OFF", WARN
    if state == "clipped":
        return f"{g.partly} clipped {ceiling or 0.0:.2f}", WARN
    return (f"{g.on} on", GOOD if fires else PLAIN) if state == "enabled" else (f"{g.unknown} unknown", BAD)


def alert_state(state: str, verdict: str | None = None) -> Shown:
    """The state of an alert; of a resolved one what was found, where that was said."""
    g = glyphs.current()
    glyph = {"open": g.stale, "acknowledged": g.partly, "resolved": g.off}.get(state, g.unknown)
    style = {"open": BAD, "acknowledged": WARN, "resolved": FAINT}.get(state, PLAIN)
    return f"{glyph} {VERDICTS.get(verdict or '', state)}", style


def decoy_state(
    state: str, *, runs: bool, pending: bool, failing: bool, mutating: bool, dry: bool = False
) -> Shown:
    """The state of a decoy; ``dry``: nothing is started for it, so that it never says that it runs."""
    g = glyphs.current()
    if mutating:
        return f"{g.busy} mutating", BAD if failing else WARN
    if failing:
        return f"{g.failed} {state}", BAD
    if pending:
        return f"{g.partly} pending", WARN
    if dry:
        return f"{g.partly} dry run", WARN
    return f"{g.on if runs else g.off} {state}", GOOD if runs else PLAIN


def token_state(state: str) -> Shown:
    """The state of a canary token; one that was set off is what one looks for."""
    g = glyphs.current()
    known: dict[str, Shown] = {
        "tripped": (f"{g.stale} tripped", BAD),
        "placed": (f"{g.on} placed", GOOD),
        "minted": (f"{g.partly} minted", PLAIN),
        "revoked": (f"{g.off} revoked", FAINT),
    }
    return known.get(state, (f"{g.unknown} {visible(state, 9)}", PLAIN))


def ignored_state(*, expired: bool) -> Shown:
    """The state of an entry of the ignored sources."""
    g = glyphs.current()
    return (f"{g.on} expired", PLAIN) if expired else (f"{g.off} ignored", WARN)


def change_state(outcome: str) -> Shown:
    """What became of an operator's change, in its first words."""
    g = glyphs.current()
    known: dict[str, Shown] = {
        End.VERIFIED.value: (g.on, GOOD),
        End.SAVED.value: (g.partly, WARN),
        End.REFUTED.value: (g.failed, BAD),
        End.UNKNOWN.value: (g.unknown, BAD),
        EXPIRED: (g.on, PLAIN),
    }
    glyph, style = known.get(outcome, (g.unknown, PLAIN))
    return f"{glyph} {outcome.partition(',')[0]}", style


def severity_style(severity: str) -> Style:
    """How a severity looks."""
    return {"critical": BAD, "high": BAD, "medium": WARN}.get(severity, PLAIN)
