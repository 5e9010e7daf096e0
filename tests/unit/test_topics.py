"""Topic builders, durability, and the in-process wildcard twin."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.bus import topics
from decnet.bus.base import matches
from decnet.bus.wire import check_topic

SEGMENT_BUILDERS: list[Callable[[str], str]] = [
    lambda s: topics.topology_mutation(s, "applied"),
    lambda s: topics.topology_mutation("t1", s),
    topics.topology_status,
    lambda s: topics.decky(s, "state"),
    lambda s: topics.decky("web", s),
    topics.system_health,
    topics.system_control,
    topics.system_deadletter,
    lambda s: topics.canary(s, "placed"),
    lambda s: topics.canary("tok", s),
    topics.ttp_rule_fired,
    topics.ttp_rule_reloaded,
    topics.ttp_rule_state,
]
LEAF_BUILDERS: list[Callable[[str], str]] = [
    topics.system,
    topics.attacker,
    topics.attacker_observation,
    topics.identity,
    topics.credential,
    topics.email_topic,
    topics.attribution,
    topics.ttp,
]


@pytest.mark.parametrize("build", SEGMENT_BUILDERS)
@pytest.mark.parametrize("bad", ["", "a.b", "*", ">", "a b", "a\n", "x" * 300])
def test_bad_segments_are_refused(build: Callable[[str], str], bad: str) -> None:
    with pytest.raises(ValueError):
        build(bad)


@pytest.mark.parametrize("build", LEAF_BUILDERS)
def test_leaves_may_hold_dots_but_not_be_empty(build: Callable[[str], str]) -> None:
    assert build("a.b").endswith(".a.b")
    with pytest.raises(ValueError):
        build("")


@pytest.mark.parametrize(
    ("topic", "durable"),
    [
        ("attacker.session.ended", True),
        ("attacker.observation.shell.pace", True),
        ("attacker", False),
        ("ttp.tagged", True),
        ("ttp.rule.fired.T1059", False),
        ("ttp.rule.suppressed", False),
        ("decky.web.traffic", False),
        ("decky.web.mutation", True),
        ("topology.t.mutation.applied", True),
        ("system.deadletter.ttp", True),
        ("system.ttp.health", False),
        ("credential.captured", True),
        ("identity.formed", True),
        ("email.received", True),
        ("canary.token.placed", True),
        ("attribution.profile.state_changed", True),
        ("ttp.rule.reloaded.R1", True),
        ("ttp.rule.state.R1", True),
        ("ttp.rule.fired", False),
        ("attacker.observed", True),
        ("attacker.session.started", True),
        ("attacker.session.progress", False),
        ("attacker.session", True),
        ("attacker.intel.enriched", True),
        ("attacker.observation.motor.paste_burst_rate", True),
        ("attacker.others.news", False),
        ("ttp.rule.fired.T1059.001", False),
        ("ttp.tagged.more", False),
        ("decky.web.state", True),
        ("decky.web.mutate_request", True),
        ("decky.state", False),
        ("decky.web.more.state", False),
        ("system.deadletter", False),
        ("system.deadletter.ttp.more", False),
        ("system.ttp.control", False),
        ("system.bus.health", False),
        ("topology", False),
        ("other.session.ended", False),
    ],
)
def test_durable_topics(topic: str, durable: bool) -> None:
    assert topics.is_durable(topic) is durable
    assert any(matches(pattern, topic) for pattern in topics.DURABLE_PATTERNS) is durable


def test_durable_patterns_are_disjoint() -> None:
    samples = [p.replace("*", "x").replace(">", "y") for p in topics.DURABLE_PATTERNS]
    for one, other in itertools.permutations(zip(topics.DURABLE_PATTERNS, samples, strict=True), 2):
        assert not matches(one[0], other[1])


@pytest.mark.parametrize(
    ("pattern", "topic", "expected"),
    [
        ("topology.>", "topology", False),
        ("topology.>", "topology.a", True),
        ("topology.>", "topology.a.b.c", True),
        ("topology.>", "topologies.a", False),
        ("a.*", "a.b.c", False),
        ("a.*", "a", False),
        ("a.*", "a.", False),
        ("a.*", "a.b", True),
        ("a.*.c", "a.b.c", True),
        ("a.*.c", "a.b.d", False),
        ("*.*", "a.b", True),
        ("*.b.>", "a.b.c", True),
        ("*.b.>", "a.b", False),
        (">", "a", True),
        (">", "a.b.c", True),
        ("a.>.c", "a.b.c", False),
        ("a.b", "a.b", True),
        ("a.b", "a.b.c", False),
        ("a.b.c", "a.b", False),
        ("a.b", "a.B", False),
        ("*", "", False),
    ],
)
def test_matches(pattern: str, topic: str, expected: bool) -> None:
    assert matches(pattern, topic) is expected


_token = st.sampled_from(["a", "b", "ab", "A"])
_wild = st.one_of(_token, st.just("*"))


@given(
    head=st.lists(_wild, max_size=3),
    tail=st.sampled_from(["a", "*", ">"]),
    topic=st.lists(_token, min_size=1, max_size=5).map(".".join),
)
def test_matches_says_what_a_regular_expression_says(head: list[str], tail: str, topic: str) -> None:
    written = {"*": "[^.]+", ">": r"[^.]+(?:\.[^.]+)*"}
    wanted = r"\.".join(written.get(token, token) for token in [*head, tail])
    assert matches(".".join([*head, tail]), topic) is (re.fullmatch(wanted, topic) is not None)


@pytest.mark.parametrize(
    ("made", "topic"),
    [
        (topics.topology_mutation("t1", topics.MUTATION_ENQUEUED), "topology.t1.mutation.enqueued"),
        (topics.topology_mutation("t1", topics.MUTATION_APPLYING), "topology.t1.mutation.applying"),
        (topics.topology_mutation("t1", topics.MUTATION_APPLIED), "topology.t1.mutation.applied"),
        (topics.topology_mutation("t1", topics.MUTATION_FAILED), "topology.t1.mutation.failed"),
        (topics.topology_status("t1"), "topology.t1.status"),
        (topics.decky("web", topics.DECKY_STATE), "decky.web.state"),
        (topics.decky("web", topics.DECKY_TRAFFIC), "decky.web.traffic"),
        (topics.decky("web", topics.DECKY_MUTATE_REQUEST), "decky.web.mutate_request"),
        (topics.decky("web", topics.DECKY_MUTATION), "decky.web.mutation"),
        (topics.system(topics.SYSTEM_BUS_HEALTH), "system.bus.health"),
        (topics.system(topics.SYSTEM_LOG), "system.log"),
        (topics.system_health("ttp"), "system.ttp.health"),
        (topics.system_control("ttp"), "system.ttp.control"),
        (topics.system_deadletter("ttp"), "system.deadletter.ttp"),
        (topics.attacker(topics.ATTACKER_OBSERVED), "attacker.observed"),
        (topics.attacker(topics.ATTACKER_SCORED), "attacker.scored"),
        (topics.attacker(topics.ATTACKER_FINGERPRINTED), "attacker.fingerprinted"),
        (topics.attacker(topics.ATTACKER_SESSION_STARTED), "attacker.session.started"),
        (topics.attacker(topics.ATTACKER_SESSION_ENDED), "attacker.session.ended"),
        (topics.attacker(topics.ATTACKER_INTEL_ENRICHED), "attacker.intel.enriched"),
        (topics.attacker_observation("shell.pace"), "attacker.observation.shell.pace"),
        (topics.identity(topics.IDENTITY_FORMED), "identity.formed"),
        (topics.identity(topics.IDENTITY_MERGED), "identity.merged"),
        (topics.credential(topics.CREDENTIAL_CAPTURED), "credential.captured"),
        (topics.credential(topics.CREDENTIAL_REUSE_DETECTED), "credential.reuse.detected"),
        (topics.email_topic(topics.EMAIL_RECEIVED), "email.received"),
        (topics.canary("tok", topics.CANARY_PLACED), "canary.tok.placed"),
        (topics.canary("tok", topics.CANARY_TRIGGERED), "canary.tok.triggered"),
        (topics.canary("tok", topics.CANARY_REVOKED), "canary.tok.revoked"),
        (
            topics.attribution(topics.ATTRIBUTION_PROFILE_STATE_CHANGED),
            "attribution.profile.state_changed",
        ),
        (
            topics.attribution(topics.ATTRIBUTION_PROFILE_MULTI_ACTOR_SUSPECTED),
            "attribution.profile.multi_actor_suspected",
        ),
        (topics.ttp(topics.TTP_TAGGED), "ttp.tagged"),
        (topics.ttp(topics.TTP_RULE_SUPPRESSED), "ttp.rule.suppressed"),
        (topics.ttp_rule_fired("T1059"), "ttp.rule.fired.T1059"),
        (topics.ttp_rule_reloaded("R1"), "ttp.rule.reloaded.R1"),
        (topics.ttp_rule_state("R1"), "ttp.rule.state.R1"),
    ],
)
def test_each_topic_is_what_others_subscribe_to(made: str, topic: str) -> None:
    assert made == topic


@pytest.mark.parametrize("build", [*SEGMENT_BUILDERS, *LEAF_BUILDERS])
def test_a_topic_may_be_255_characters_long_and_not_one_more(build: Callable[[str], str]) -> None:
    room = 255 - len(build("x")) + 1
    assert len(build("x" * (room - 1))) == 254
    assert len(build("x" * room)) == 255
    with pytest.raises(ValueError, match="longer than 255"):
        build("x" * (room + 1))


_hostile = st.one_of(
    st.sampled_from([" ", "\t", "\n", "\r", "\v", "\f", "\x1c", "\x85", "\u00a0", "\u2028", "\u3000"]),
    st.sampled_from([".", "*", ">", "\x00", "\x1b", "\x7f", "\u202e", "\ufeff", "\ud800", "\U0001f98a"]),
    st.characters(codec=None),
    st.sampled_from(["a", "b"]),
)
_texts = st.one_of(st.text(_hostile, max_size=12), st.text(_hostile, min_size=230, max_size=300))


@given(text=_texts, which=st.sampled_from(SEGMENT_BUILDERS))
def test_no_segment_becomes_none_or_several_tokens(text: str, which: Callable[[str], str]) -> None:
    plain = which("x").split(".")
    try:
        made = which(text)
    except ValueError:
        return
    assert made.split(".") == [text if token == "x" else token for token in plain]
    assert text
    assert not set(text) & set(".*>")
    assert text.split() == [text]


@given(text=_texts, which=st.sampled_from(LEAF_BUILDERS))
def test_a_leaf_stays_below_its_root_whatever_it_holds(text: str, which: Callable[[str], str]) -> None:
    root = which("x")[:-1]
    if text and len(root) + len(text) <= topics.MAX_TOPIC_LENGTH:
        assert which(text) == root + text
    else:
        with pytest.raises(ValueError):
            which(text)


@given(text=_texts, which=st.sampled_from([*SEGMENT_BUILDERS, *LEAF_BUILDERS, str]))
def test_what_goes_on_the_wire_is_a_subject_of_plain_tokens(text: str, which: Callable[[str], str]) -> None:
    try:
        topic = check_topic(which(text))
    except ValueError:
        return
    assert 0 < len(topic) <= 255
    assert topic.encode().split() == [topic.encode()]
    for token in topic.split("."):
        assert token
        assert not any(char in "*>\x7f" or char <= " " or char.isspace() for char in token)


_known = st.sampled_from(
    [
        "attacker",
        "credential",
        "identity",
        "email",
        "canary",
        "attribution",
        "topology",
        "ttp",
        "decky",
        "system",
    ]
)
_part = st.sampled_from(
    [
        "tagged",
        "rule",
        "fired",
        "state",
        "reloaded",
        "mutation",
        "mutate_request",
        "deadletter",
        "health",
        "x",
    ]
)


@given(root=st.one_of(_known, st.just("x")), rest=st.lists(_part, max_size=4))
def test_durable_is_what_the_stream_takes_and_nothing_else(root: str, rest: list[str]) -> None:
    topic = ".".join([root, *rest])
    assert topics.is_durable(topic) is any(matches(p, topic) for p in topics.DURABLE_PATTERNS)


@pytest.mark.parametrize("bad", [None, 7, b"x"])
def test_what_is_no_text_is_no_topic(bad: object) -> None:
    for build in (*SEGMENT_BUILDERS, *LEAF_BUILDERS):
        with pytest.raises(ValueError):
            build(bad)  # type: ignore[arg-type]
