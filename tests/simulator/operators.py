"""Operators with habits, seeded: what one session of theirs looks like to the multi-actor test.

A session is a row of ``session_feature``. Hashes are plain words here: the test only asks whether they
are equal. Nothing in this module knows how the test decides.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Row = dict[str, Any]
START = 1_780_000_000.0
DAY_S = 86_400.0


@dataclass(slots=True)
class Trait:
    """A habit with several values: drawn anew in each session, or kept with probability ``stay``."""

    values: tuple[str, ...]
    weights: tuple[float, ...] = ()
    stay: float = 0.0
    now: str | None = None

    def draw(self, dice: random.Random) -> str:
        """The value of this session."""
        if self.now is None or dice.random() >= self.stay:
            self.now = dice.choices(self.values, self.weights or None)[0]
        return self.now


@dataclass(slots=True)
class Work:
    """One kind of session: its playbooks (none of them twice when ``fresh``), its size, its pace."""

    playbooks: tuple[str, ...] = ()
    fresh: float = 0.0
    commands: tuple[int, int] = (3, 9)
    gap_log2: float = 2.0
    gap_spread: float = 0.5
    pasted: bool = False
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(slots=True)
class Operator:
    """One person or bot."""

    name: str
    client: Trait
    account: Trait
    work: list[Work]
    work_weights: tuple[float, ...] = ()
    work_of_hour: Callable[[float], int] | None = None
    hour: float = 14.0
    hour_spread: float = 3.0
    tty: bool = False
    key_gap_log2: float = -2.5
    simhash: int = 0
    labels: dict[str, Trait] = field(default_factory=dict)
    serial: int = 0

    def session(self, dice: random.Random, day: float) -> Row:
        """One session that starts on ``day`` (days since the beginning, epoch seconds in the row)."""
        self.serial += 1
        hour = dice.gauss(self.hour, self.hour_spread) % 24
        which = self.work_of_hour(hour) if self.work_of_hour else None
        work = (
            self.work[which] if which is not None else dice.choices(self.work, self.work_weights or None)[0]
        )
        count = dice.randint(*work.commands)
        gap = dice.gauss(work.gap_log2, work.gap_spread)
        duration = 2**gap * count + dice.uniform(0.5, 3)
        started = START + int(day) * DAY_S + hour * 3600
        client = self.client.draw(dice)
        return {
            "started_at": started,
            "ended_at": started + duration,
            "client": {"session.client": client},
            "playbook": self._playbook(dice, work, count),
            "tempo": _tempo(duration, gap, count),
            "credentials": {"session.account": self.account.draw(dice)},
            "typing": self._typing(dice, work) if self.tty and not client.startswith("telnet") else None,
            "habit": self._labels(dice, work),
            "hours": {"session.hour_utc": int(hour), "session.dow": int(day) % 7},
        }

    def _playbook(self, dice: random.Random, work: Work, count: int) -> Row | None:
        if count == 0:
            return None
        if not work.playbooks or dice.random() < work.fresh:
            word = f"{self.name}-{self.serial}-{dice.random()}"
            return {"session.playbook": word, "session.argv0": word}
        word = dice.choice(work.playbooks)
        return {"session.playbook": f"{word}/{dice.randint(0, 2)}", "session.argv0": word}

    def _typing(self, dice: random.Random, work: Work) -> Row | None:
        if work.pasted:
            return {"motor.input_modality": "pasted"}
        noise = 0
        for bit in dice.sample(range(64), dice.randint(0, 3)):
            noise |= 1 << bit
        return {
            "motor.input_modality": "typed",
            "motor.digraph_simhash": f"{self.simhash ^ noise:016x}",
            "session.key_gap_log2": dice.gauss(self.key_gap_log2, 0.25),
        }

    def _labels(self, dice: random.Random, work: Work) -> Row:
        own = {name: trait.draw(dice) for name, trait in self.labels.items()}
        return {**own, **{name: dice.choice(values) for name, values in work.labels.items()}}


def _tempo(duration: float, gap: float, count: int) -> Row:
    from math import log2

    out = {"session.duration_log2": log2(max(duration, 2**-7))}
    return {**out, "session.latency_log2": gap} if count > 1 else out


EXPLORE = {
    "operational.objective": ("recon", "collection"),
    "cognitive.planning_depth": ("shallow", "reactive"),
}
MINE = {"operational.objective": ("cryptomining",), "cognitive.planning_depth": ("deep",)}
CLIENTS = (*(f"ssh:hassh{n}" for n in range(8)), "telnet")
ACCOUNTS = tuple(f"account{n}" for n in range(12))


def _labels(dice: random.Random, stay: float = 0.0) -> dict[str, Trait]:
    odds = dice.uniform(0.1, 0.9)
    return {
        "operational.opsec_discipline": Trait(("low", "high"), (odds, 1 - odds), stay),
        "temporal.lifecycle_markers.exit_behavior": Trait(("clean", "abrupt"), (), stay),
    }


def human(dice: random.Random, name: str, **changes: Any) -> Operator:
    """Somebody who types: one client, one account, explores afresh each time."""
    work = Work(fresh=0.9, playbooks=(f"{name}-a",), gap_log2=dice.uniform(1.5, 4), labels=EXPLORE)
    made = Operator(
        name,
        Trait((dice.choice(CLIENTS),)),
        Trait((dice.choice(ACCOUNTS),)),
        [work],
        hour=dice.uniform(0, 24),
        hour_spread=dice.uniform(1, 5),
        key_gap_log2=dice.uniform(-4, -1),
        simhash=dice.getrandbits(64),
        labels=_labels(dice),
    )
    return replace(made, **changes)


def bot(dice: random.Random, name: str, **changes: Any) -> Operator:
    """A program: few playbooks, jitter, any hour."""
    books = tuple(f"{name}-p{n}" for n in range(dice.randint(1, 4)))
    work = Work(books, 0.0, (1, 6), dice.uniform(-4, 0), dice.uniform(0.1, 0.6), True, MINE)
    made = human(dice, name, work=[work], hour_spread=12.0, labels={})
    return replace(made, **changes)


# --- single operators of many kinds -------------------------------------------------------------


def steady(dice: random.Random) -> Operator:
    """A person with few habits."""
    return human(dice, "steady", tty=dice.random() < 0.5)


def varied(dice: random.Random) -> Operator:
    """Every habit a coin of its own: clients, accounts, playbooks, pace."""
    works = [
        Work((f"v{n}",), 0.3, (1, 12), dice.uniform(-2, 5), 0.7, dice.random() < 0.3, EXPLORE) for n in (1, 2)
    ]
    return human(
        dice,
        "varied",
        client=Trait(tuple(dice.sample(CLIENTS, dice.randint(2, 3)))),
        account=Trait(tuple(dice.sample(ACCOUNTS, dice.randint(2, 4)))),
        work=works,
        hour_spread=8.0,
        tty=True,
    )


def moody(dice: random.Random) -> Operator:
    """Habits that last for some sessions, each for itself."""
    stay = dice.uniform(0.5, 0.85)
    made = varied(dice)
    return replace(
        made,
        client=replace(made.client, stay=stay),
        account=replace(made.account, stay=stay),
        labels=_labels(dice, stay),
    )


def two_routines(dice: random.Random) -> Operator:
    """Quick checks and long work: playbook, tempo and labels change together, client and account do not."""
    quick = Work(("check1", "check2"), 0.0, (1, 2), 0.0, 0.4, True, MINE)
    long = Work((), 1.0, (8, 20), dice.uniform(2, 4), 0.5, False, EXPLORE)
    accounts = Trait(tuple(dice.sample(ACCOUNTS, 2)))
    return human(dice, "routines", work=[quick, long], account=accounts, tty=dice.random() < 0.5)


def day_and_night(dice: random.Random) -> Operator:
    """The routine follows the clock: scripts at night, work by hand in the day."""
    made = two_routines(dice)
    return replace(made, hour=dice.uniform(0, 24), hour_spread=7.0, work_of_hour=lambda h: int(8 < h < 20))


def jitter_bot(dice: random.Random) -> Operator:
    """One tool, a dictionary of accounts, a few payloads."""
    accounts = Trait(tuple(dice.sample(ACCOUNTS, dice.randint(1, 8))))
    return bot(dice, "jitter", account=accounts)


def many_tools_bot(dice: random.Random) -> Operator:
    """A bot kit with several client libraries."""
    accounts = Trait(tuple(dice.sample(ACCOUNTS, dice.randint(2, 6))))
    return bot(dice, "kit", client=Trait(tuple(dice.sample(CLIENTS, 3))), account=accounts)


def one_command(dice: random.Random) -> Operator:
    """Returns with a single command each time."""
    books = tuple(f"one{n}" for n in range(dice.randint(1, 5)))
    work = Work(books, 0.2, (0, 1), 0.0, 0.8, True, {})
    clients = Trait(tuple(dice.sample(CLIENTS, dice.randint(1, 2))))
    return bot(dice, "one", work=[work], client=clients, account=Trait(tuple(dice.sample(ACCOUNTS, 2))))


SINGLES: dict[str, Callable[[random.Random], Operator]] = {
    "steady": steady,
    "varied": varied,
    "moody": moody,
    "two routines": two_routines,
    "day and night": day_and_night,
    "bot with jitter": jitter_bot,
    "bot with many tools": many_tools_bot,
    "one command": one_command,
}


def stream(dice: random.Random, rate: float = 2.0) -> Iterator[float]:
    """Days on which sessions start, about ``rate`` a day."""
    day = 0.0
    while True:
        day += dice.expovariate(rate)
        yield day


def numbered(rows: list[Row], name: str) -> list[Row]:
    """Rows in order of time with session ids."""
    rows.sort(key=lambda row: row["ended_at"])
    return [{**row, "session_id": f"{name}-{n:03d}"} for n, row in enumerate(rows)]


def single_history(kind: str, seed: int, count: int = 30) -> list[Row]:
    """Sessions of one operator of a kind of :data:`SINGLES` or :data:`CHANGING`."""
    dice = random.Random(f"{kind}-{seed}")
    days = stream(dice, dice.choice((0.5, 1.0, 3.0)))
    if kind in CHANGING:
        return numbered(CHANGING[kind](dice, [next(days) for _ in range(count)]), kind)
    operator = SINGLES[kind](dice)
    return numbered([operator.session(dice, next(days)) for _ in range(count)], kind)


# --- single operators whose habits change -------------------------------------------------------


def drifting(dice: random.Random, days: list[float]) -> list[Row]:
    """Client, account and work change once each, at times of their own; the pace creeps."""
    made = varied(dice) if dice.random() < 0.3 else human(dice, "drift", tty=True)
    when = [dice.randrange(len(days)) for _ in range(3)]
    creep = dice.uniform(-0.15, 0.15)
    rows = []
    for n, day in enumerate(days):
        if n == when[0]:
            made.client = Trait((dice.choice(CLIENTS),))
        if n == when[1]:
            made.account = Trait((dice.choice(ACCOUNTS),))
        if n == when[2]:
            made.work = [Work(("new",), 0.5, (2, 6), dice.uniform(-2, 4), 0.5, False, EXPLORE)]
        for work in made.work:
            work.gap_log2 += creep
        rows.append(made.session(dice, day))
    return rows


def new_kit(dice: random.Random, days: list[float]) -> list[Row]:
    """Everything changes at once, with one or two sessions of relapse."""
    old, new = human(dice, "old"), bot(dice, "new")
    when = dice.randrange(4, len(days) - 4)
    relapse = {when + dice.randint(1, 3) for _ in range(dice.randint(0, 1))}
    return [(new if n >= when and n not in relapse else old).session(dice, d) for n, d in enumerate(days)]


def campaigns(dice: random.Random, days: list[float]) -> list[Row]:
    """New accounts, playbooks and pace every few sessions, often a new client; nothing returns."""
    rows: list[Row] = []
    number = 0
    while len(rows) < len(days):
        number += 1
        kit = (bot if dice.random() < 0.7 else human)(dice, f"c{number}-{dice.random()}")
        kit.account = Trait((f"campaign{number}",))
        rows += [kit.session(dice, day) for day in days[len(rows) : len(rows) + dice.randint(3, 8)]]
    return rows


CHANGING: dict[str, Callable[[random.Random, list[float]], list[Row]]] = {
    "drifting": drifting,
    "new kit": new_kit,
    "campaigns": campaigns,
}
SINGLE_KINDS = (*SINGLES, *CHANGING)
