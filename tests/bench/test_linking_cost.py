"""What one session costs linking when a hundred and when a hundred thousand addresses are known, and the memory of it."""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Iterator
from random import Random
from statistics import mean, median

import pytest

from decnet.attribution.linking import Features, Linker
from tests.linkkit import session

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]
FEW, MANY = 100, 100_000
MEASURED = 2000
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


def taken(linker: Linker, source: Iterator[Features]) -> list[float]:
    """Seconds of CPU that each of the measured sessions took."""
    found = []
    for _ in range(MEASURED):
        features = next(source)
        started = time.process_time()
        linker.add(features)
        found.append(time.process_time() - started)
    return found


def test_a_session_costs_the_same_with_a_hundred_and_a_hundred_thousand_addresses() -> None:
    figures = {}
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
        times = taken(linker, source)
        figures[count] = mean(times)
        print(
            f"\nlinking, {len(linker.index.profiles)} addresses: {mean(times) * 1e3:.3f} ms a session (median "
            f"{median(times) * 1e3:.3f}, longest {max(times) * 1e3:.1f}), {known} sessions before it in {filled:.0f} s,"
            f" {used:.0f} MiB, {len(linker.identities())} identities, {len(linker.campaigns())} campaigns"
        )
    assert max(figures.values()) <= 0.002
    assert figures[MANY] <= 1.2 * figures[FEW]
