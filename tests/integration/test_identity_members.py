"""All names of an identity, and how many addresses it has, in one query each; on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from decnet.db.repository import BaseRepository
from decnet.ids import attacker_id
from tests.dbkit import KINDS, open_repo
from tests.linkrows import address, identity_of

A, B, C, D = "45.9.148.2", "45.9.148.3", "185.220.101.4", "198.51.100.9"


@pytest.fixture(params=KINDS)
async def repo(request: Any, tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path) as made:
        await address(made, A)
        await address(made, B, into=A)
        await address(made, C, into=A, ignored_by="x")
        await address(made, D)
        yield made


async def test_each_id_of_an_identity_leads_to_all_of_its_names(repo: BaseRepository) -> None:
    for asked in (A, B, C):
        found = await repo.names_of_identity(identity_of(asked))
        assert found[0]["attacker_ip"] == A
        assert {(one["attacker_ip"], one["attacker_uuid"], one["identity_uuid"]) for one in found} == {
            (ip, attacker_id(ip), identity_of(ip)) for ip in (A, B, C)
        }
        assert {one["canonical"] for one in found} == {identity_of(A)}
    assert [one["attacker_ip"] for one in await repo.names_of_identity(identity_of(D))] == [D]
    assert await repo.names_of_identity("nobody") == []


async def test_sizes_are_of_those_with_several_addresses_and_identities_are_those_of_now(
    repo: BaseRepository,
) -> None:
    assert await repo.identity_sizes([identity_of(A), identity_of(D), "nobody"]) == {identity_of(A): 3}
    assert await repo.identities_now([attacker_id(ip) for ip in (B, D)]) == {
        attacker_id(B): identity_of(A),
        attacker_id(D): identity_of(D),
    }
    assert (await repo.attacker_count(), await repo.attacker_count(ignored=True)) == (3, 4)
