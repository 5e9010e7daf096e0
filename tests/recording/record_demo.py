"""Make the demo recording anew: ``python -m tests.recording.record_demo [DIRECTORY]`` (about three minutes).

Three real Cowries are attacked by every character of ``attackers`` at once, each session from a loopback
address of its own; then ``relocate`` gives the sessions the dates and addresses that the plan says. The
default directory is the demo that the package ships, whose README.md tells the rules for its readers.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

from tests.recording import acts, attackers, relocate
from tests.recording.attackers import Visit
from tests.recording.bait_server import bait_server
from tests.recording.clients import Target
from tests.recording.cowrie_env import Cowrie, running_cowrie

DEMO = Path(__file__).parents[2] / "decnet/_data/demo"
AT_ONCE = 24
"""Sessions played at the same time; more would make the clients stutter on a small machine."""
SEED = "decnet demo visit {number}"


def source_of(number: int) -> str:
    """The loopback address that visit ``number`` attacks from."""
    return f"127.77.{1 + number // 200}.{1 + number % 200}"


async def play_all(visits: Sequence[Visit], pots: dict[str, Cowrie]) -> None:
    """Play every visit, AT_ONCE at a time, the long ones not last."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, visit: Visit) -> None:
        pot = pots[visit.decoy]
        port = pot.telnet_port if visit.telnet else pot.ssh_port
        assert port is not None
        async with gate:
            await acts.play(
                visit.act, Target(port, source_of(number)), random.Random(SEED.format(number=number))
            )

    async with asyncio.TaskGroup() as group:
        for number, visit in enumerate(visits):
            group.create_task(one(number, visit), name=f"visit {number}")


async def record(
    visits: Sequence[Visit], workdir: Path, decoys: Mapping[str, str], users: Sequence[str]
) -> relocate.Recording:
    """The raw recording of a Cowrie for each decoy (name → address), in order of time; ``users`` may log in."""
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(bait_server())
        pots = {
            name: await stack.enter_async_context(
                running_cowrie(workdir, sensor=name, bait_port=port, users=users, settings=_shown(address))
            )
            for name, address in decoys.items()
        }
        await play_all(visits, pots)
        await asyncio.sleep(2)
    events = [event for pot in pots.values() for event in pot.events()]
    ttys = {(n, file.name): file.read_bytes() for n, pot in pots.items() for file in pot.tty_dir.iterdir()}
    return relocate.Recording(sorted(events, key=lambda event: str(event["timestamp"])), ttys)


def _shown(address: str) -> dict[str, dict[str, str]]:
    """Settings that make the honeypot show ``address`` as its own, and not that of the recording machine."""
    last = address.rpartition(".")[2]
    return {"honeypot": {"internet_facing_ip": address, "internet_facing_ipv6": f"2001:db8::{last}"}}


def moves(
    visits: Sequence[Visit], recording: relocate.Recording, decoys: Mapping[str, str]
) -> dict[str, relocate.Move]:
    """By session: what the plan says about the visit that its loopback address stands for."""
    by_source = {source_of(number): visit for number, visit in enumerate(visits)}
    found: dict[str, relocate.Move] = {}
    for session, (source, began) in relocate.starts(recording.events).items():
        visit = by_source[source]
        shift = timedelta(seconds=round((visit.start - began).total_seconds()))
        found[session] = relocate.Move(visit.address, decoys[visit.decoy], shift)
    return found


def write(events: list[relocate.Event], ttys: dict[str, bytes], place: Path) -> None:
    """Replace log and recordings at ``place``; its README.md stays."""
    shutil.rmtree(place / "tty", ignore_errors=True)
    (place / "tty").mkdir(parents=True)
    (place / "cowrie.json").write_text(relocate.to_lines(events), "utf-8")
    for name, content in ttys.items():
        (place / "tty" / name).write_bytes(content)


async def main(place: Path) -> None:
    visits = attackers.plan()
    with tempfile.TemporaryDirectory() as workdir:
        raw = await record(visits, Path(workdir), attackers.DECOYS, attackers.USERS)
    write(*relocate.relocate(raw, moves(visits, raw, attackers.DECOYS)), place)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else DEMO))
