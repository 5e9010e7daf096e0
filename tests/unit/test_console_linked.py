"""News of linking in a line, whom a scope covers over many names and after partings, whole numbers in filters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from decnet.errors import DecnetError
from decnet_tui.commands.following import MOST, refuse_too_many
from decnet_tui.model.event_text import source_of, summarise
from decnet_tui.model.filters import parse_filter
from decnet_tui.model.scope import Scope, scope_of


@pytest.mark.parametrize(
    ("topic", "payload", "said", "source"),
    [
        ("identity.merged", {"winner_uuid": "aaaaaaaa-1", "loser_uuid": "bbbbbbbb-2", "reasons": ["key k at 2 addresses"]},
         "i-bbbbbbbb is i-aaaaaaaa now: key k at 2 addresses", "id:aaaaaaaa"),
        ("identity.unmerged", {"resurrected": "bbbbbbbb-2", "former_winner": "aaaaaaaa-1", "reasons": []},
         "i-bbbbbbbb is no part of i-aaaaaaaa any more", "id:bbbbbbbb"),
        ("campaign.formed", {"campaign_uuid": "cccccccc-3", "name": "wget @\x1b", "identity_uuids": ["x", "y"], "reasons": ["script s"]},
         "campaign c-cccccccc wget @\\e 2 identities: script s", "c:cccccccc"),
        ("campaign.merged", {"winner_uuid": "cccccccc-3", "loser_uuid": "dddddddd-4"}, "campaign c-dddddddd is c-cccccccc now", "c:cccccccc"),
        ("campaign.unmerged", {"resurrected": "dddddddd-4", "former_winner": "cccccccc-3"},
         "campaign c-dddddddd is no part of c-cccccccc any more", "c:dddddddd"),
        ("campaign.identity.assigned", {"campaign_uuid": "cccccccc-3", "identity_uuid": "aaaaaaaa-1", "reasons": "x"},
         "i-aaaaaaaa has the kit of c-cccccccc", "id:aaaaaaaa"),
        ("identity.merged", {}, "i-? is i-? now", "-"),
    ],
)  # fmt: skip
def test_news_of_linking_are_a_sentence(topic: str, payload: dict[str, Any], said: str, source: str) -> None:
    assert summarise(topic, payload) == said
    assert source_of(topic, payload, {}) == source


def test_a_scope_of_many_names_reads_the_names_of_an_event_and_finds_the_same() -> None:
    ips = [f"192.0.2.{n}" for n in range(30)]
    few, many = Scope("x", frozenset(ips[:5])), Scope("x", frozenset([*ips, "odd name"]))
    for scope, last in ((few, ips[4]), (many, ips[29])):
        assert scope.covers_raw(b'{"a":{"attacker_ip":"%s"}}' % last.encode())
        assert scope.covers_raw(b'{"attacker_ips":["10.0.0.1","%s"]}' % last.encode())
        assert not scope.covers_raw(
            b'{"attacker_ip":"192.0.2.99","text":"%s is not a value"}' % last.encode()
        )
    assert many.covers_raw(b'{"who":"odd name"}')


def test_who_was_chosen_stays_followed_when_identities_part() -> None:
    scope = scope_of({"attacker_uuid": "a", "identity_uuid": "w"})
    assert scope is not None
    both = scope.merged("w", "l")
    assert both.names == {"a", "w", "l"}
    assert both.parted("w", "l").names == {"a", "w"}
    assert both.parted("x", "l") is both
    own = replace(both, anchor="l")
    assert own.parted("w", "l").names == {"a", "l"}


def test_a_whole_number_in_a_filter_is_no_part_of_another() -> None:
    test = parse_filter("asn:49981", ["asn"])
    assert test.shows_row({"asn": "49981"})
    assert not test.shows_row({"asn": "149981"})
    assert parse_filter("asn:4998", ["asn"]).shows_row({"asn": "AS49981 NAME"})


def test_as_many_addresses_are_followed_as_can_be_looked_for() -> None:
    refuse_too_many(["a"] * MOST)
    with pytest.raises(DecnetError, match="5001 addresses are too many to follow: 5000 at most"):
        refuse_too_many(["a"] * (MOST + 1))
