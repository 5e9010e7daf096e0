"""Identities and campaigns as they are told: how sure, why, how common each reason is, and what speaks against."""

from __future__ import annotations

import pytest

from decnet.attribution.linking import identity_told
from decnet.attribution.linking.steps import script_id
from decnet.ids import attacker_id, identity_id
from tests.linkkit import linked, session

A, B, C = (f"203.0.{n}.7" for n in range(1, 4))
RARE = "SSH-2.0-own_1"
KIT = ("uname -a", "cat /proc/cpuinfo", "wget @ -O", "chmod own", "rm -rf", "crontab -l")


def test_an_identity_says_how_sure_it_is_why_and_what_speaks_against() -> None:
    made = [
        session(A, 1.0, key="k", client=RARE, steps=KIT),
        session(B, 2.0, key="k", client=RARE, steps=KIT),
    ]
    linker = linked([*made, session(C, 3.0, key="k", client="other", steps=KIT)])
    told = identity_told(linker, B)
    assert (told.identity_uuid, told.addresses) == (identity_id(attacker_id(A)), [A, B, C])
    assert told.attacker_uuids == [attacker_id(one) for one in (A, B, C)]
    assert [(r.family, r.value, r.addresses) for r in told.reasons] == [
        ("key", "k", 3), ("client", RARE, 2), ("script", script_id(KIT), 3),
    ]  # fmt: skip
    assert told.confidence == round((sum(linker.explain(*p).total for p in ((A, B), (A, C), (B, C)))) / 3, 2)
    assert [(a.family, a.weight) for a in told.against] == [("client", -0.3)]


def test_what_an_operator_said_stands_first() -> None:
    linker = linked([session(A, 1.0, client=RARE), session(B, 2.0, client=RARE)])
    linker.same(B, A, "one jump host")
    told = identity_told(linker, A)
    assert (told.reasons[0].family, told.reasons[0].value, told.reasons[0].weight) == (
        "operator",
        "one jump host",
        0.0,
    )
    assert [r.family for r in told.reasons][1:] == ["client"]


def test_an_address_alone_is_an_identity_without_reasons() -> None:
    told = identity_told(linked([session(A)]), A)
    assert (told.addresses, told.confidence, told.reasons, told.against) == ([A], 0.0, [], [])
    with pytest.raises(KeyError):
        identity_told(linked([]), A)


def test_a_campaign_is_named_after_its_clearest_asset() -> None:
    linker = linked(
        [
            session(A, 1.0, key="k", client=RARE, steps=KIT),
            session(B, 2.0, key="k", client=RARE),
            session(C, 3.0, steps=KIT),
            session("203.0.9.1", 4.0, steps=("cat /etc/shadow -x", "id", "ls", "w", "ps")),
            session("203.0.9.2", 5.0, steps=("cat /etc/shadow -x", "id", "ls", "w", "ps")),
        ]
    )
    groups = linker.kits.campaigns.groups
    shared = {
        root: sorted(map(linker.address, group.members)) for root, group in groups.items() if group.shared
    }
    assert {linker.kits.name_of(root): addresses for root, addresses in shared.items()} == {
        "key k": [A, B, C],
        "cat /etc/shadow -x": ["203.0.9.1", "203.0.9.2"],
    }
    assert linker.identity(A) == [A, B], (
        "who only has the script is in the campaign, and is nobody's identity"
    )
