"""What stands on the page of an alert: the two sides as a table of values, days, odds, what speaks against. Knows no terminal.

Values are those of the sessions that are stored still; which sessions follow the sides is what the test said.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby, pairwise
from statistics import median
from typing import Any, NamedTuple

from decnet.db.rows.alertpage import AlertPage, SideSession
from decnet.db.rows.attribution import Alert, Explanation, Support
from decnet.hostile import visible
from decnet_tui.model.alert_words import VERDICTS, odds
from decnet_tui.model.words import addresses_text, clock, counted, lasted, span

LIKELY = "several operators, or one with two toolkits"
LABEL, VALUE = 10, 26
"""Characters of a family's name and of each side's value: a line of 80 has both sides and the sum."""
_SHOWN_HOURS, _SHOWN_WORDS, _SHOWN_LABELS = 8, 5, 2
_WORD = re.compile(r"[^\s;|&<>()]+")
_FEW_LIMITS, _SHOWN_BREAKS = 1, 2


class FamilyLine(NamedTuple):
    """One family of evidence: its name, what it is on each side, how many sessions follow, whether some do not."""

    family: str
    one: str
    other: str
    follow: str
    broken: bool


def sides_of(alert: Alert) -> dict[str, str]:
    """Side by session: A is the side of the first session."""
    return {session: "AB"[i] for i, side in enumerate((alert["sides"] or [])[:2]) for session in side}


def why_of(alert: Alert) -> Explanation:
    """What the test said; rows of earlier versions may have nothing."""
    return alert["explanation"] or {}


def breaking(alert: Alert) -> dict[str, list[str]]:
    """By session the families in which it stands on the other side."""
    found: dict[str, list[str]] = {}
    for item in why_of(alert).get("support") or ():
        for session in item.get("breaks") or ():
            found.setdefault(session, []).append(item["family"])
    return found


# --- the two sides as values


def family_lines(page: AlertPage) -> list[FamilyLine]:
    """A line for each family that was measured, what follows the sides first."""
    sides = sides_of(page["alert"])
    one, other = ([s for s in page["sessions"] if sides.get(s["session_id"]) == side] for side in "AB")
    told = {item["family"]: item for item in why_of(page["alert"]).get("support") or ()}
    lines = []
    for family, value in _VALUES.items():
        texts, item = value(one, other), told.get(family)
        if item is not None or any(text != "-" for text in texts):
            follow, broken = _follow(item) if item is not None else (_unsaid(family, page["alert"]), False)
            lines.append(FamilyLine(_NAMES.get(family, family), *texts, follow, broken))
    return sorted(lines, key=lambda line: line.follow in (NOT, UNSAID))


NOT, UNSAID = "no", "-"
"""Said of a family that does not follow the sides, and of one that the test said nothing of."""


def _unsaid(family: str, alert: Alert) -> str:
    against = why_of(alert).get("against") or ()
    return NOT if any(str(text).startswith(f"{family} does not follow") for text in against) else UNSAID


def _follow(item: Support) -> tuple[str, bool]:
    """How many sessions follow, of those in which it was measured."""
    measured, breaks = item.get("measured"), item.get("breaks") or []
    if measured is None:
        share = item.get("agreement") or 0.0
        return f"{share:.0%}", share < 1
    return f"{measured - len(breaks)}/{measured}", bool(breaks)


Sessions = Sequence[SideSession]
Both = Callable[[Sessions, Sessions], tuple[str, str]]


def _each(value: Callable[[Sessions], str]) -> Both:
    """Of each side by itself."""
    return lambda one, other: (value(one) or "-", value(other) or "-")


def _usual(values: Iterable[str]) -> str:
    """The commonest value, and how many others there are."""
    counts = Counter(value for value in values if value)
    if not counts:
        return ""
    first = min(counts, key=lambda value: (-counts[value], value))
    return f"{first} +{len(counts) - 1}" if len(counts) > 1 else first


def _client(sessions: Sessions) -> str:
    return _usual(client_of(one) for one in sessions)


def client_of(one: SideSession) -> str:
    """What its client says it is, else the fingerprint, else the protocol."""
    client = one["client"] or {}
    return str(client.get("version") or str(client.get("hassh") or "")[:16] or one["protocol"] or "")


def _login(sessions: Sessions) -> str:
    return _usual(next(iter(one["logins"] or _names_tried(one)), "") for one in sessions)


def _names_tried(one: SideSession) -> list[str]:
    names = (one["auth"] or {}).get("usernames")
    return [str(name) for name in names] if isinstance(names, list) else []


def _playbook(sessions: Sessions) -> str:
    """The commands of the commonest way to work, by their names."""
    names = [", ".join(dict.fromkeys(filter(None, map(_first_word, one["lines"])))) for one in sessions]
    return _usual(", ".join(name.split(", ")[:_SHOWN_WORDS]) for name in names)


def _first_word(line: str) -> str:
    found = _WORD.search(line)
    return found[0].rpartition("/")[2][:16] if found else ""


def _tempo(sessions: Sessions) -> str:
    took = [one["duration_s"] for one in sessions if one["duration_s"] is not None]
    if not took:
        return ""
    least, most = span(min(took)), span(max(took))
    return least if least == most else f"{least} to {most}"


def _typing(sessions: Sessions) -> str:
    told = [one["features"].get("typing") or {} for one in sessions]
    how = _usual(str(one.get("motor.input_modality") or "") for one in told)
    gaps = [float(gap) for one in told if isinstance(gap := one.get("session.key_gap_log2"), (int, float))]
    return ", ".join(part for part in (how, f"{2 ** median(gaps):.2f} s a key" if gaps else "") if part)


def _hours(sessions: Sessions) -> str:
    hours = sorted({one["started_at"].astimezone(UTC).hour for one in sessions if one["started_at"]})
    more = f" +{len(hours) - _SHOWN_HOURS}" if len(hours) > _SHOWN_HOURS else ""
    return " ".join(f"{hour:02}" for hour in hours[:_SHOWN_HOURS]) + more


def _habits(one: Sessions, other: Sessions) -> tuple[str, str]:
    """The labels in which the sides differ, those that differ most first."""
    sides = [_labels(sessions) for sessions in (one, other)]
    apart = sorted(
        (
            name
            for name in sides[0].keys() & sides[1].keys()
            if _mode(sides[0][name]) != _mode(sides[1][name])
        ),
        key=lambda name: (-_share(sides[0][name]) - _share(sides[1][name]), name),
    )[:_SHOWN_LABELS]
    texts = [", ".join(f"{_short(name)} {_mode(side[name])}" for name in apart) for side in sides]
    return texts[0] or "-", texts[1] or "-"


def _labels(sessions: Sessions) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for one in sessions:
        for name, value in (one["features"].get("habit") or {}).items():
            if isinstance(value, str):
                found.setdefault(name, Counter())[value] += 1
    return found


def _mode(counts: Counter[str]) -> str:
    return min(counts, key=lambda value: (-counts[value], value))


def _share(counts: Counter[str]) -> float:
    return max(counts.values()) / counts.total()


def _short(name: str) -> str:
    return name.rpartition(".")[2].replace("_", " ")


_VALUES: Mapping[str, Both] = {
    "client": _each(_client),
    "credentials": _each(_login),
    "playbook": _each(_playbook),
    "tempo": _each(_tempo),
    "typing": _each(_typing),
    "hours": _each(_hours),
    "habit": _habits,
}
_NAMES = {"credentials": "login", "hours": "hours UTC"}


# --- lines


def head_lines(page: AlertPage, label: str, now: float) -> list[str]:
    """Who, in what state, over which sessions; and the claim in a sentence with what it rests on."""
    alert = page["alert"]
    starts = [one["started_at"] for one in page["sessions"] if one["started_at"]]
    seen = f" {min(starts):%m-%d}..{max(starts):%m-%d}" if starts else ""
    count = sum(len(side) for side in alert["sides"] or ())
    lines = [f"{label}  {state_text(alert, now)}  {counted(count, 'session')}{seen}"]
    return [*lines, f"LIKELY {why_of(alert).get('claim') or LIKELY}", *_in_short(page)]


def state_text(alert: Alert, now: float) -> str:
    """``OPEN 66s``, ``ACKNOWLEDGED by eve``, ``RESOLVED two people by eve 11-30 20:11``."""
    state = alert["state"].upper()
    by, at = alert["acknowledged_by"], alert["acknowledged_at"]
    if alert["state"] == "resolved":
        found = VERDICTS.get(alert["verdict"] or "", "")
        by, at = alert["resolved_by"], alert["resolved_at"]
        return " ".join(
            part for part in (state, found, f"by {visible(by, 40)}" if by else "", _stamp(at)) if part
        )
    if alert["state"] == "acknowledged":
        return " ".join(part for part in (state, f"by {visible(by, 40)}" if by else "", _stamp(at)) if part)
    return f"{state} {span(now - alert['ts'].timestamp())}" if alert["ts"] else state


def _stamp(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%m-%d %H:%M}Z" if moment else ""


def _in_short(page: AlertPage) -> list[str]:
    """Both sides in a line, by the two families that say most of what people understand at once."""
    told = {line.family: line for line in family_lines(page) if line.follow not in (NOT, UNSAID)}
    chosen = [
        told[name] for name in ("client", "login", "hours UTC", "tempo", "playbook", "habit") if name in told
    ][:2]
    if not chosen:
        return []
    one, other = ([getattr(line, side)[:VALUE] for line in chosen] for side in ("one", "other"))
    return [f"In short: A {', '.join(one)}; B {', '.join(other)}"]


def table_lines(page: AlertPage) -> list[tuple[str, bool]]:
    """The table of values, its head first; each line with whether some session breaks it."""
    sides = list(sides_of(page["alert"]).values())
    heads = [f"{side} ({counted(sides.count(side), 'session')})" for side in "AB"]
    lines = [(f"{'':<{LABEL}} {heads[0]:<{VALUE}} {heads[1]:<{VALUE}} follow", False)]
    for line in family_lines(page):
        one, other = (visible(text, VALUE).ljust(VALUE) for text in (line.one, line.other))
        sign = " !" if line.broken else ""
        lines.append((f"{line.family:<{LABEL}} {one} {other} {line.follow}{sign}", line.broken))
    return lines


def days_lines(page: AlertPage, room: int = 74) -> list[str]:
    """Whose sessions came on which day, in order, and how often the side changed."""
    sides = sides_of(page["alert"])
    timed = sorted((one["started_at"], sides[one["session_id"]]) for one in page["sessions"]
                   if one["started_at"] and one["session_id"] in sides)  # fmt: skip
    if not timed:
        return []
    days = [
        (f"{day:%m-%d}", "".join(side for _, side in some))
        for day, some in groupby(timed, key=lambda one: one[0].astimezone(UTC).date())
    ]
    told = why_of(page["alert"]).get("switches")
    changes = told if told is not None else sum(a != b for a, b in pairwise(side for _, side in timed))
    lines, line = [], "days"
    for day, strip in days:
        part = f" {day} {strip if len(strip) <= 16 else strip[:14] + '..'}"
        if len(line) + len(part) > room:
            lines.append(line)
            line = "    "
        line += part
    last = f"  side changed {counted(changes, 'time')}"
    fits = len(line) + len(last) <= room
    return [*lines, line + last] if fits else [*lines, line, f"    {last}"]


def strength_line(alert: Alert) -> str:
    """The odds with those that are asked for, and why no more than this is shown."""
    why = why_of(alert)
    capped = " (never over 0.60)" if why.get("cannot_tell") else ""
    return f"strength {odds(why.get('score'))} (asked: {odds(why.get('threshold'))})  shown as {alert['confidence']:.2f}{capped}"


def against_lines(alert: Alert) -> list[str]:
    """What speaks against it; where sessions stand on the other side by a family, with their ids."""
    why = why_of(alert)
    odd = {item["family"]: item.get("breaks") or [] for item in why.get("support") or ()}
    lines = []
    for text in map(str, why.get("against") or ()):
        breaks = odd.get(text.partition(" ")[0], []) if " is on the other side " in text else []
        more = f" +{len(breaks) - _SHOWN_BREAKS}" if len(breaks) > _SHOWN_BREAKS else ""
        named = " ".join(session[:8] for session in breaks[:_SHOWN_BREAKS])
        lines.append(f"{text}: {named}{more}" if named else text)
    return lines or ["nothing found"]


def link_lines(alert: Alert) -> list[str]:
    """The addresses of each side, when it may be the link between them that is wrong."""
    link = why_of(alert).get("link")
    sides = link["sides"] if link else []
    return [
        f"link in doubt: {' '.join(side)} on side {'AB'[number % 2]}" for number, side in enumerate(sides)
    ]


def limits_line(alert: Alert) -> str:
    """What no evidence of this kind tells apart: the first, and how many more the detail has."""
    limits = [str(text) for text in why_of(alert).get("cannot_tell") or ()]
    more = f"  (+{len(limits) - _FEW_LIMITS})" if len(limits) > _FEW_LIMITS else ""
    return f"{limits[0]}{more}" if limits else ""


def session_line(one: SideSession, side: str, odd: bool, *, sources: bool) -> str:
    """One session: side, start, decoy, how long, how many commands, the first of them."""
    started = f"{one['started_at'].astimezone(UTC):%m-%d %H:%M:%S}" if one["started_at"] else "-"
    who = f"{visible(one['attacker_ip'] or '-', 15):<15} " if sources else ""
    typed = "; ".join(" ".join(line.split()) for line in one["lines"]) or "no command"
    took = lasted(one["ended_at"], one["duration_s"])
    return (
        f"{side}{'!' if odd else ' '} {started:<14} {who}{visible(one['decky_id'] or '-', 10):<10} {took:>6} "
        f"{one['command_count'] or 0:>5}  {typed}"
    )


def session_head(*, sources: bool) -> str:
    """The titles above the sessions."""
    who = f"{'source':<15} " if sources else ""
    return f"{'started':<14} {who}{'decoy':<10} {'took':>6} {'cmds':>5}  first commands"


def all_lines(page: AlertPage, label: str) -> list[str]:
    """An alert as sentences, whole: claim, evidence, counter-evidence, limits, what operators made of it."""
    alert, why = page["alert"], why_of(page["alert"])
    acts = (
        ("acknowledged", alert["acknowledged_by"], alert["acknowledged_at"]),
        (
            f"resolved {VERDICTS.get(alert['verdict'] or '', '')}".rstrip(),
            alert["resolved_by"],
            alert["resolved_at"],
        ),
    )
    return [
        f"{label}: {why.get('claim') or LIKELY}",
        strength_line(alert),
        f"{counted(why.get('sessions'), 'session')}, side changes {counted(why.get('switches'), 'time')},"
        f" {' and '.join(str(len(side)) for side in alert['sides'] or ())} on each side",
        "",
        "for it:",
        *(f"  {item['family']}: {_follow(item)[0]} of its sessions follow the sides" for item in why.get("support") or ()),
        "",
        "against it:",
        *(f"  {text}" for text in [*against_lines(alert), *link_lines(alert)]),
        "",
        "cannot be told apart:",
        *(f"  {text}" for text in why.get("cannot_tell") or ()),
        "",
        *(f"{what} by {who} {clock(when.timestamp(), 'date') if when else ''}Z" for what, who, when in acts if who),
        f"identity {alert['identity_uuid']}  {addresses_text(len(alert['attacker_uuids'] or ()))}  alert {alert['alert_id']}",
    ]  # fmt: skip


def of_row(alert: Alert, addresses: Mapping[str, str]) -> AlertPage:
    """An alert of a list as a page without its sessions: what its row alone can tell."""
    return {"alert": alert, "addresses": addresses, "sessions": [], "notes": []}


def plain(page: AlertPage, label: str) -> dict[str, Any]:
    """The alert as it is copied and exported."""
    return {**page["alert"], "actor": label, "notes": list(page["notes"])}
