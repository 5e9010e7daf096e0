"""Running summaries of one attacker: the state as of the end of a UTC day with sessions; pure.

They are made of the newest sessions up to that day, in event time, so that the order of delivery and
the wall clock change nothing. Hours are UTC: whose local time that is, is for the reader to find out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from statistics import fmean, median

from behave_shell.spec import Observation, Window

from decnet.behave import EXTRACTOR_VERSION
from decnet.behave import thresholds as t
from decnet.behave.extract import observation
from decnet.behave.measures import Finding, deviation, sure, variation

DAY_S = 86_400.0
WEEK_HOURS = 168


@dataclass(frozen=True, slots=True)
class Visit:
    """One session of the attacker; epoch seconds, activity by hour of the week (Monday first, UTC)."""

    session_id: str
    started_at: float
    ended_at: float
    hours: dict[str, int]

    @property
    def day(self) -> int:
        """Days since 1 January 1970."""
        return int(self.started_at // DAY_S)


def summary_ref(attacker_uuid: str, day: int) -> str:
    """The pointer of the summary of one attacker on one day."""
    date = datetime.fromtimestamp(day * DAY_S, UTC).date().isoformat()
    return f"attacker:{attacker_uuid}#behave-{EXTRACTOR_VERSION}/{date}"


def days_to_do(before: Sequence[Visit], after: Sequence[Visit]) -> list[int]:
    """Days whose summary a visit at the end of ``before`` takes part in.

    ``after`` is at most as many later visits as a summary is made of; a day that may go on beyond
    them no longer holds the visit.
    """
    whole = after if len(after) < t.SUMMARY_SESSIONS else [v for v in after if v.day < after[-1].day]
    return sorted({before[-1].day, *(visit.day for visit in whole)} if before else {v.day for v in whole})


def summarise(attacker_uuid: str, visits: Sequence[Visit], day: int) -> list[Observation]:
    """The summaries of an attacker as of the end of ``day``; visits in order of their start."""
    seen = [visit for visit in visits if visit.day <= day][-t.SUMMARY_SESSIONS :]
    if not seen:
        return []
    end = max(visit.ended_at for visit in seen)
    window = Window(start_ts=min(seen[0].started_at, end), end_ts=end)
    ref = summary_ref(attacker_uuid, day)
    findings = [*beacon(seen)]
    if len(seen) < t.SUMMARY_SESSIONS or end - seen[0].started_at >= t.SUMMARY_MIN_SPAN_S:
        findings += [*circadian(seen), *persistence(seen)]
    return [observation(p, v, c, ref=ref, window=window, attacker_uuid=attacker_uuid) for p, v, c in findings]


def circadian(visits: Sequence[Visit]) -> Iterator[Finding]:
    """Histograms over the week, the quiet span, the time of day, the weekend."""
    week = [0] * WEEK_HOURS
    for visit in visits:
        for hour, count in visit.hours.items():
            week[int(hour) % WEEK_HOURS] += count
    total = sum(week)
    if total < t.SUMMARY_MIN_EVENTS or len(visits) < t.SUMMARY_MIN_SESSIONS:
        return
    days = {visit.day for visit in visits}
    by_hour = [sum(week[hour::24]) for hour in range(24)]
    by_day = [sum(week[dow * 24 : dow * 24 + 24]) for dow in range(7)]
    confidence = sure(total, t.CONFIDENCE_HALF_EVENTS)
    for name, counts in (("hour", by_hour), ("dow", by_day), ("hour_dow", week)):
        yield f"temporal.circadian.{name}_histogram", [round(n / total, 6) for n in counts], confidence
    if total >= t.QUIET_MIN_EVENTS and len(days) >= t.QUIET_MIN_DAYS:
        yield "temporal.circadian.quiet_span_utc", quiet_span(by_hour), confidence
    if total >= t.TIMING_MIN_EVENTS and len(days) >= t.TIMING_MIN_DAYS:
        yield "temporal.session_timing", _timing(by_hour, total), round(confidence / 2, 4)
    yield from _weekend(by_day, total, days)


def quiet_span(by_hour: Sequence[int]) -> list[int]:
    """``[start, end)`` in UTC hours of the longest run below a tenth of the peak; may cross midnight.

    Of equally long runs the one whose middle is nearest to the hour of least activity.
    """
    limit = t.QUIET_SHARE * max(by_hour)
    low = [count < limit for count in by_hour]
    runs = [run for start in range(24) if (run := _run(low, start))]
    if not runs:  # no hour is quiet: the least one stands for itself
        least = min(range(24), key=lambda hour: by_hour[hour])
        return [least, (least + 1) % 24]
    longest = max(length for _, length in runs)
    smooth = [sum(by_hour[(hour + k) % 24] for k in (-2, -1, 0, 1, 2)) for hour in range(24)]
    least = min(range(24), key=lambda hour: smooth[hour])
    start, length = min(
        (run for run in runs if run[1] == longest), key=lambda run: _apart(run[0] + run[1] / 2, least + 0.5)
    )
    return [start, (start + length) % 24]


def _run(low: Sequence[bool], start: int) -> tuple[int, int] | None:
    """The run of low hours that begins at ``start``, around midnight if need be."""
    if not low[start] or low[start - 1]:
        return None
    length = 1
    while length < 24 and low[(start + length) % 24]:
        length += 1
    return start, length


def _apart(one: float, other: float) -> float:
    distance = abs(one - other) % 24
    return min(distance, 24 - distance)


def _timing(by_hour: Sequence[int], total: int) -> str:
    if sum(by_hour[hour] for hour in t.DAY_HOURS) >= t.TIMING_SHARE * total:
        return "diurnal"
    night = sum(by_hour[hour] for hour in t.NIGHT_HOURS)
    return "nocturnal" if night >= t.TIMING_SHARE * total else "irregular"


def _weekend(by_day: Sequence[int], total: int, days: set[int]) -> Iterator[Finding]:
    if max(days) - min(days) < t.WEEKEND_MIN_SPAN_DAYS or len(days) < t.WEEKEND_MIN_DAYS:
        return
    shares = {
        "fri_sat": (by_day[4] + by_day[5]) / total,
        "sat_sun": (by_day[5] + by_day[6]) / total,
    }
    least = min(sorted(shares), key=lambda name: shares[name])
    if shares[least] < t.WEEKEND_QUIET_SHARE:
        label = least
    else:
        label = "no_weekend" if min(shares.values()) >= t.WEEKEND_UNIFORM_SHARE else "irregular"
    yield "cultural.weekend_cadence", label, sure(len(days), 20, 0.8)


def persistence(visits: Sequence[Visit]) -> Iterator[Finding]:
    """Returns on other days. That somebody will not return cannot be seen, so nobody is a hit-and-run."""
    days = {visit.day for visit in visits}
    if len(days) < 2:
        return
    span = max(days) - min(days) + 1
    hours = {hour for visit in visits for hour in visit.hours}
    resident = span >= t.RESIDENT_DAYS and len(days) >= t.RESIDENT_SHARE * span
    resident = resident and len({int(hour) % 24 for hour in hours}) >= t.RESIDENT_HOURS
    yield "temporal.persistence", "resident" if resident else "return_visitor", sure(len(days), 3)


def beacon(visits: Sequence[Visit]) -> Iterator[Finding]:
    """Regular returns of one attacker: interval, jitter and its kind; nothing when they are not regular."""
    starts: list[float] = []
    for visit in visits:
        if not starts or visit.started_at - starts[-1] > t.BEACON_MERGE_S:
            starts.append(visit.started_at)
    recent = starts[-t.BEACON_SESSIONS :]
    gaps = [after - before for before, after in pairwise(recent)]
    if (
        len(gaps) < t.BEACON_MIN_INTERVALS
        or median(gaps) < t.BEACON_MIN_S
        or variation(gaps) > t.BEACON_MAX_CV
    ):
        return
    confidence = sure(len(gaps), 10)
    yield "toolchain.c2.beacon_interval_ms", round(median(gaps) * 1000.0, 3), confidence
    yield "toolchain.c2.beacon_jitter_cv", round(variation(gaps), 6), confidence
    skew = _skew(gaps)
    if skew is not None:
        yield "toolchain.c2.sleep_skew", skew, round(confidence * 0.8, 4)


def _skew(gaps: Sequence[float]) -> str | None:
    """The kind of jitter; None when there are too few intervals to tell."""
    if variation(gaps) < t.SKEW_NONE_CV:
        return "none"
    if len(gaps) < t.SKEW_MIN_INTERVALS:
        return None
    mean, spread = fmean(gaps), deviation(gaps)
    z = [(gap - mean) / spread for gap in gaps]
    if fmean(a * b for a, b in pairwise(z)) >= t.SKEW_WALK_CORRELATION:
        return "walk"
    kurtosis = fmean(value**4 for value in z) - 3.0
    return "uniform" if kurtosis <= t.SKEW_UNIFORM_KURTOSIS else "gaussian"
