"""Rows of linking straight into the tables, as its job leaves them: addresses, links, assets, campaigns, visits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from decnet.db.repository import BaseRepository
from decnet.ids import attacker_id, campaign_id, identity_id
from tests.rowkit import put

T = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC).timestamp()


def identity_of(ip: str) -> str:
    """The identity that an address began."""
    return identity_id(attacker_id(ip))


async def address(repo: BaseRepository, ip: str, at: float = T, into: str | None = None, **more: Any) -> None:
    """An address that was seen once; ``into`` is the one whose identity it is part of."""
    uuid = attacker_id(ip)
    winner = identity_of(into) if into else None
    await put(repo, "attacker", {"attacker_uuid": uuid, "ip": ip, "first_seen": at, "last_seen": at, **more})
    await put(
        repo,
        "identity",
        {"identity_uuid": identity_of(ip), "attacker_uuid": uuid, "merged_into": winner},
    )
    own = {"attacker_uuid": uuid, "address": ip, "identity_uuid": identity_of(ip), "logins": ""}
    await put(repo, "link_address", {**own, "linked_into": winner, "founded_at": at})


async def value(
    repo: BaseRepository, family: str, text: str, ips: Iterable[str], kept: bool = True, **more: Any
) -> str:
    """A value that addresses have; its id."""
    term = f"{family}|{text}"
    row = {"term_id": term, "family": family, "value": text, "campaign_root": None, "kit_root": None}
    await put(repo, "link_term", {**row, **more})
    for ip in ips:
        await put(
            repo,
            "link_value",
            {"attacker_uuid": attacker_id(ip), "term_id": term, "first_at": T, "kept": kept},
        )
    return term


async def campaign(
    repo: BaseRepository, name: str, family: str, text: str, ips: Sequence[str], **more: Any
) -> str:
    """A campaign that is known by one asset; its id."""
    root = f"{family}|{text}"
    await value(repo, family, text, ips, campaign_root=root)
    uuid = campaign_id(family, text)
    row = {"kind": "campaign", "root": root, "founder": root, "founded_at": T, "label": text}
    await put(repo, "link_group", {**row, "campaign_uuid": uuid, "name": name, "addresses": len(ips), **more})
    return uuid


async def visit(
    repo: BaseRepository, name: str, ip: str, term: str | None, at: float = T, **brought: Any
) -> None:
    """A session, through which its address belongs to a campaign; with hosts, hashes and techniques."""
    uuid = attacker_id(ip)
    row = {"session_id": name, "attacker_uuid": uuid, "attacker_ip": ip, "decky_id": "web", "service": "ssh"}
    times = {"started_at": at, "ended_at": at + 9, "command_count": 1}
    await put(repo, "session", {**row, **times, "ignored_by": brought.get("ignored_by")})
    if term is not None:
        await put(repo, "link_session", {"session_id": name, "attacker_uuid": uuid, "term_id": term})
    if any(brought.get(kind) for kind in ("host", "hash")):  # stored with it, as whoever judges does
        story = {"session_id": name, "attacker_uuid": uuid, "seen_at": at, "ended_at": at + 9}
        await put(repo, "session_story", story)
    for kind in ("host", "hash"):
        for thing in brought.get(kind, ()):
            await put(repo, "session_thing", {"session_id": name, "kind": kind, "value": thing})
    for technique in brought.get("techniques", ()):
        tag = {"uuid": f"{name}-{technique}", "attacker_uuid": uuid, "session_id": name}
        await put(repo, "ttp_tag", {**tag, "technique_id": technique, "seen_at": at, "created_at": at + 1e6})


async def why(
    repo: BaseRepository,
    ip: str,
    confidence: float,
    reasons: Sequence[tuple[str, str, int, float]],
    against: Sequence[tuple[str, float]] = (),
) -> None:
    """Why the identity that an address names is one."""
    told = [dict(zip(("family", "value", "addresses", "weight"), one, strict=True)) for one in reasons]
    cost = [dict(zip(("family", "weight"), one, strict=True)) for one in against]
    row = {"identity_uuid": identity_of(ip), "confidence": confidence, "addresses": 2}
    await put(repo, "identity_link", {**row, "reasons": told, "against": cost})
