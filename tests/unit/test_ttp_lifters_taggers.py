"""The lifters as taggers: any payload, what evidence may hold, one rule's failure, the past, confidence."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from decnet.config import load_settings
from decnet.db.repository import BaseRepository
from decnet.db.rows.ttp import TTPTag
from decnet.events.topics import RECORDS
from decnet.keyed import keyed_hash, load_key
from decnet.ttp import lifter_registry
from decnet.ttp.base import KNOWN_SOURCE_KINDS, Tagger, TaggerEvent, TolerantTagger
from decnet.ttp.evidence import EVIDENCE, checked_evidence
from decnet.ttp.factory import CompositeTagger, get_tagger
from decnet.ttp.lifter_registry import LifterKind, NoKnobs, known_kinds
from decnet.ttp.lifters.taggers import CredentialLifter, EmailLifter, IntelLifter, all_lifters
from decnet.ttp.loader import load_bytes
from decnet.ttp.masking import concealed, masked
from decnet.ttp.rule_engine import RuleEngine, RuleEngineTagger
from decnet.ttp.rules import RuleState
from tests.dbkit import KINDS, open_repo
from tests.ruledrive import shipped

PACK = shipped()
LIFTED = [rule for rule in PACK if rule.lifter is not None]
MARK = "s3cr3t-m4rker@victim.example"
"""Stands wherever a text may stand; no evidence of an e-mail may repeat it."""


def engine_of(rules: Sequence[Any] = tuple(LIFTED), **states: RuleState) -> RuleEngine:
    engine = RuleEngine()
    engine.replace(rules, states)
    return engine


ENGINE = engine_of()
TAGGERS: list[Tagger] = [
    RuleEngineTagger(None, engine_of(PACK)),
    *all_lifters(ENGINE),
    CompositeTagger(all_lifters(ENGINE)),
]


def _facts() -> list[str]:
    """Names that predicates and rules look at."""
    names = {name for record in RECORDS.values() for name in record.__struct_fields__}
    names |= {name for rule in LIFTED for name in rule.evidence_fields}
    for rule in LIFTED:
        for example in (*rule.tests_match, *rule.tests_no_match):
            names |= set(example) if isinstance(example, dict) else set()
    return sorted(names)


_HOSTILE = st.sampled_from(
    [
        MARK,
        f"{MARK} urgent wire transfer",
        f"gophish {MARK}",
        "\x00\ud800",
        "xn--" + MARK,
        "fe80::1",
        "malicious",
        "a" * 5000,
        "drop database x",
        "",
    ]
)
_NUMBERS = st.sampled_from([-1, 0, 3, 26, 10**6, 10**40, 2.5, float("inf"), float("nan"), True])
_LEAVES = st.none() | st.booleans() | _NUMBERS | _HOSTILE | st.text(max_size=20)
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_ANY = st.dictionaries(st.sampled_from(_facts()) | st.text(max_size=8), _VALUES, max_size=14)
_EXAMPLES = [example for rule in LIFTED for example in rule.tests_match if isinstance(example, dict)]


def _tainted(value: Any) -> Any:
    """The same fact with hostile text beside what a rule looks for."""
    if isinstance(value, list):
        return [*value, MARK, f"xn--{MARK}"]
    return f"{value} {MARK}" if isinstance(value, str) else value


def _near(example: dict[str, Any], tainted: bool, extra: dict[str, Any]) -> dict[str, Any]:
    """A payload that a rule holds for, among others."""
    return {**extra, **{name: _tainted(v) if tainted else v for name, v in example.items()}}


_NEAR = st.builds(_near, st.sampled_from(_EXAMPLES), st.booleans(), _ANY)
_PAYLOADS = _ANY | _NEAR


def test_every_known_kind_is_claimed_and_no_other() -> None:
    handled = {kind for tagger in TAGGERS for kind in tagger.HANDLES}
    assert handled == KNOWN_SOURCE_KINDS
    assert all(isinstance(lifter, TolerantTagger) for lifter in all_lifters(ENGINE))
    built = get_tagger(load_settings())
    assert [lifter.name for lifter in built.lifters][1:] == [lifter.name for lifter in all_lifters(ENGINE)]


@settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
async def test_any_payload_gives_a_list(data: st.DataObject) -> None:
    tagger = data.draw(st.sampled_from(TAGGERS))
    kind = data.draw(st.sampled_from(sorted(tagger.HANDLES)))
    who = data.draw(st.sampled_from(["attacker", None]))
    event = TaggerEvent(kind, "s", who, payload=data.draw(_PAYLOADS))
    with capture_logs():
        tags = await tagger.tag(event)
    assert isinstance(tags, list)
    assert all(isinstance(tag, TTPTag) for tag in tags)


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.items() for text in _texts(list(item))]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [value] if isinstance(value, str) else []


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(_PAYLOADS, st.sampled_from(["email", "canary_fingerprint"]))
def test_private_kinds_tell_nothing(payload: dict[str, Any], kind: str) -> None:
    why = {"field": "subject", "matched": payload.get("subject"), "span": [0, 1], **payload}
    evidence = [checked_evidence(kind, why)]
    for lifter in ("email", "behavioral", "canary"):
        event = TaggerEvent(kind, "s", "attacker", payload=payload)
        evidence += [tag.evidence or {} for tag in ENGINE.lift(event, lifter)]
    for found in evidence:
        if kind == "canary_fingerprint":
            assert found.keys() <= {"metric", "signature"}
        else:
            assert not any("@" in text or "urgent" in text or "gophish" in text for text in _texts(found))


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(
    _PAYLOADS,
    st.sampled_from(sorted(KNOWN_SOURCE_KINDS)),
    st.sampled_from(["password", "secret", "passwords", "pwd"]),
)
def test_no_evidence_holds_a_password(payload: dict[str, Any], kind: str, name: str) -> None:
    clean = json.loads(json.dumps(payload, default=str).replace(MARK, "x"))
    hostile = {**clean, name: MARK, "auth": {name: MARK}}
    for lifter in {rule.lifter.partition("_")[0] for rule in LIFTED if rule.lifter}:
        for tag in ENGINE.lift(TaggerEvent(kind, "s", "attacker", payload=hostile), lifter):
            assert MARK not in json.dumps(tag.evidence)
    assert MARK not in json.dumps(checked_evidence(kind, hostile))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("wget ftp://bob:hunter2@203.0.113.9/x", "wget ftp://bob:***@203.0.113.9/x"),
        ("sshpass -p hunter2 ssh root@h", "sshpass -p *** ssh root@h"),
        ("mysql --password=hunter2 db", "mysql --password=*** db"),
        ("/login?user=a&password=hunter2&x=1", "/login?user=a&password=***&x=1"),
        ("echo root:hunter2|chpasswd", "echo root:***|chpasswd"),
        ("wget http://203.0.113.9:8080/a", "wget http://203.0.113.9:8080/a"),
        ("mysqldump -u root -phunter2 db", "mysqldump -u root -p*** db"),
        ("curl -u bob:hunter2 http://h/", "curl -u bob:*** http://h/"),
        ("curl -H 'Authorization: Bearer hunter2' h", "curl -H 'Authorization: Bearer ***' h"),
        ("echo -e 'hunter2\\nhunter2' | passwd bob", "echo -e *** | passwd bob"),
        ("echo hunter2 | sudo -S id", "echo *** | sudo -S id"),
        ("chpasswd <<< 'root:hunter2'", "chpasswd <<< 'root:***'"),
        ("PGPASSWORD=hunter2 psql", "PGPASSWORD=*** psql"),
        ("export AWS_SECRET_ACCESS_KEY=hunter2", "export AWS_SECRET_ACCESS_KEY=***"),
        ("useradd -o -p hunter2 bob", "useradd -o -p *** bob"),
        ("openssl passwd -6 -salt ab hunter2", "openssl passwd -6 -salt ab ***"),
        ("redis-cli -h h -a hunter2 ping", "redis-cli -h h -a *** ping"),
        ("smbclient //h/s -U bob%hunter2", "smbclient //h/s -U bob%***"),
        ("secretsdump.py corp/admin:hunter2@h", "secretsdump.py corp/admin:***@h"),
        ("zip -r -P hunter2 a.zip b", "zip -r -P *** a.zip b"),
        ('{"user": "a", "password": "hunter2"}', '{"user": "a", "password": ***}'),
        ("docker run -p 80:80 nginx", "docker run -p 80:80 nginx"),
        ("scp a.txt bob@h:/tmp/", "scp a.txt bob@h:/tmp/"),
        ("cat /etc/passwd", "cat /etc/passwd"),
    ],
)
def test_passwords_in_known_places_are_masked(text: str, shown: str) -> None:
    assert masked(text) == shown
    assert checked_evidence("command", {"matched": text, "command_text": text}) == {
        "matched": shown,
        "command_text": shown,
    }


def test_a_matched_part_without_its_context_shows_no_password() -> None:
    """The rule's span ends before the pipe, so that nothing in it says what the word is."""
    line = "echo root:hunter2 ; echo 'root:hunter2' | chpasswd; echo hunter2 > /tmp/.p"
    shown = concealed({"field": "command_text", "matched": "echo root:hunter2", "steps": ["hunter2"]}, line)
    assert shown == {"field": "command_text", "matched": "echo root:***", "steps": ["***"]}
    assert concealed({"matched": "id"}, "id") == {"matched": "id"}
    short = concealed({"matched": "echo a; cat b"}, "echo root:a|chpasswd")
    assert short == {"matched": "echo ***; cat b"}


def test_evidence_of_every_kind_has_a_type_and_survives_anything() -> None:
    assert EVIDENCE.keys() == KNOWN_SOURCE_KINDS
    assert checked_evidence("unheard of", {"field": "x"}) == {}
    assert checked_evidence("session", {"span": "x", "value": True, "service": 5, "unknown": 1}) == {}
    told = checked_evidence(
        "email", {"field": "subject", "matched": "hello", "from_domain": "a@b.example", "rcpt_count": 3}
    )
    assert told.keys() == {"field", "matched_sha256", "rcpt_count"}
    some = checked_evidence(
        "email", {"domains": ["a.example", MARK, 5], "attachment_sha256s": ["ab" * 32, MARK]}
    )
    assert some == {"domains": ["a.example"], "attachment_sha256s": ["ab" * 32]}


async def test_one_failing_rule_costs_only_itself_and_trips(monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: object) -> None:
        raise ZeroDivisionError

    known_kinds()
    broken = LifterKind("intel_feodo", "intel", frozenset({"intel"}), explode, NoKnobs, map_driven=True)
    monkeypatch.setitem(lifter_registry._kinds, "intel_feodo", broken)
    engine = engine_of()
    lifter = IntelLifter(engine)
    payload = {"feodo_listed": True, "threatfox_listed": True, "threatfox_threat_types": ["payload"]}
    with capture_logs() as logs:
        for i in range(engine.failures.limit + 3):
            tags = await lifter.tag(TaggerEvent("intel", f"s{i}", "a", payload=payload))
            assert [tag.rule_id for tag in tags] == ["L0204"]
    assert engine.failures.total == engine.failures.limit
    assert engine.failures.out_of_action() == 1
    assert [(log["log_level"], log["rule_id"]) for log in logs] == [
        ("warning", "L0203")
    ] * engine.failures.limit


MALICIOUS = {"aggregate_verdict": "malicious"}
LISTED = {"abuseipdb_score": 50, "abuseipdb_categories": [18]}


def _confidence(engine: RuleEngine, payload: dict[str, Any]) -> dict[str, float]:
    tags = engine.lift(TaggerEvent("intel", "s", "a", payload=payload), "intel")
    return {tag.rule_id: round(tag.confidence, 3) for tag in tags}


def test_a_malicious_verdict_raises_up_to_the_cap_and_never_over_a_clip() -> None:
    assert _confidence(ENGINE, LISTED) == {"L0201": 0.4}
    assert _confidence(ENGINE, LISTED | MALICIOUS) == {"L0201": 0.55}
    sure = {"feodo_listed": True, "feodo_malware_family": "heodo"}
    assert _confidence(ENGINE, sure | MALICIOUS) == {"L0203": 0.95}
    clipped = engine_of(L0201=RuleState("clipped", 0.35), L0203=RuleState("disabled"))
    assert _confidence(clipped, LISTED | sure | MALICIOUS) == {"L0201": 0.35}
    off = engine_of(L0205=RuleState("disabled"))
    assert _confidence(off, LISTED | MALICIOUS) == {"L0201": 0.4}
    faint = {"abuseipdb_score": 30, "abuseipdb_categories": [18]}
    assert _confidence(ENGINE, faint) == {}
    assert _confidence(ENGINE, faint | MALICIOUS) == {"L0201": 0.39}


VERDICT = """rule_id: X1
rule_version: 1
name: verdict
description: d
applies_to: [intel]
match: {pattern: malicious, field: aggregate_verdict}
emits:
  - {tactic: TA0042, technique_id: T1583, confidence: 0.2}
"""


def test_a_malicious_verdict_raises_the_tags_of_conditions_too() -> None:
    rule, errors = load_bytes(VERDICT.encode(), "X.yaml")
    assert not errors
    event = TaggerEvent("intel", "s", "a", payload=MALICIOUS)
    assert [round(tag.confidence, 3) for tag in engine_of([*LIFTED, rule]).evaluate(event)] == [0.35]
    assert engine_of([*LIFTED, rule], L0205=RuleState("disabled")).evaluate(event) == []
    clipped = engine_of([*LIFTED, rule], X1=RuleState("clipped", 0.3))
    assert [tag.confidence for tag in clipped.evaluate(event)] == [0.3]


@pytest.fixture(params=KINDS)
async def repo(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path) as opened:
        yield opened


def _mail(name: str, ts: float, attacker: str = "a", body: str = "abcdef01", count: int = 30) -> TaggerEvent:
    payload = {"rcpt_count": count, "body_simhash": body, "ts": ts, "simhash_age_s": 1.0}
    return TaggerEvent("email", name, attacker, payload=payload)


MAILS = [
    _mail("m1", 1000.0),
    _mail("m2", 2000.0),
    _mail("m3", 2000.0),
    _mail("m4", 3000.0 + 86_401.0),
    _mail("m5", 3000.0, attacker="b"),
    _mail("m6", 3000.0, body="00000000"),
    _mail("m7", 3000.0, count=24),
    _mail("m8", 4000.0, body=""),
]


async def _judged(repo: BaseRepository, batches: Sequence[Sequence[TaggerEvent]]) -> dict[str, Any]:
    lifter, found = EmailLifter(ENGINE), dict[str, Any]()
    for batch in batches:
        async with repo.transaction() as tx:
            for tag in await lifter.tag_batch(batch, repo=tx):
                assert found.setdefault(tag.uuid, (tag.source_id, tag.evidence)) == (
                    tag.source_id,
                    tag.evidence,
                )
    return dict(found.values())


async def test_mass_phish_needs_the_same_body_before_in_any_order(repo: BaseRepository) -> None:
    wanted = await _judged(repo, [MAILS])
    assert wanted.keys() == {"m2", "m3"}
    assert wanted["m2"]["body_simhash"] == "abcdef01"
    dice = random.Random(7)
    for i in range(6):
        mails = [mail._replace(attacker_uuid=f"{mail.attacker_uuid}{i}") for mail in MAILS]
        dice.shuffle(mails)
        cut = dice.randrange(1, len(mails))
        assert await _judged(repo, [mails[:cut], mails[cut:], mails]) == wanted


async def test_of_two_engines_at_once_the_later_one_sees_both(repo: BaseRepository) -> None:
    first, second = EmailLifter(ENGINE), EmailLifter(ENGINE)

    async def other() -> list[TTPTag]:
        async with repo.transaction() as tx:
            return await second.tag_batch([MAILS[1]], repo=tx)

    async with repo.transaction() as tx:
        assert await first.tag_batch([MAILS[0]], repo=tx) == []
        task = asyncio.create_task(other())
        waiting, _ = await asyncio.wait({task}, timeout=0.2)
        assert not waiting
    assert [tag.source_id for tag in await task] == ["m2"]


@pytest.mark.parametrize(
    "mail",
    [
        _mail("m" * 5000, 1.0),
        _mail("m", 1.0, body="a" * 5000),
        _mail("m", 1.0, attacker="a" * 5000),
        _mail("m\x00\ud800", 1e308, body="\x00"),
    ],
)
async def test_mails_with_hostile_ids_are_judged_too(repo: BaseRepository, mail: TaggerEvent) -> None:
    async with repo.transaction() as tx:
        assert await EmailLifter(ENGINE).tag_batch([mail, MAILS[0], MAILS[1]], repo=tx)


async def test_old_bodies_are_forgotten(repo: BaseRepository) -> None:
    async with repo.transaction() as tx:
        await EmailLifter(ENGINE).tag_batch(MAILS, repo=tx)
    assert (await repo.purge_older(2500.0))["email_body"] == 3
    left = await repo.email_bodies([("a", "abcdef01"), ("b", "abcdef01")])
    assert [row["source_id"] for row in left] == ["m5", "m7", "m4"]


async def test_without_a_repository_nobody_is_remembered() -> None:
    assert await EmailLifter(ENGINE).tag_batch([MAILS[0], MAILS[1]]) == []


async def test_default_pairs_are_compared_as_keyed_hashes(tmp_path: Path) -> None:
    lifter = CredentialLifter(ENGINE, tmp_path)

    def captured(user: str, secret: str, key: bytes) -> TaggerEvent:
        payload = {"username": user, "secret_hmac": keyed_hash(key, "password", secret), "default_pair": True}
        return TaggerEvent("credential", f"{user}{secret}", "a", payload=payload)

    assert await lifter.tag(captured("root", "root", b"no key yet")) == []
    key = load_key(tmp_path)
    (tag,) = await lifter.tag(captured("admin", "1234", key))
    assert (tag.rule_id, tag.sub_technique_id) == ("L0605", "T1078.001")
    assert "1234" not in json.dumps(tag.evidence)
    assert await lifter.tag(captured("admin", "something else", key)) == []
    assert await lifter.tag(captured("root", "root", b"another key")) == []


async def test_an_unreadable_key_is_one_warning(tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_bytes(b"short")
    lifter = CredentialLifter(ENGINE, tmp_path)
    event = TaggerEvent("credential", "s", "a", payload={"username": "root", "secret_hmac": "x"})
    with capture_logs() as logs:
        assert await lifter.tag_batch([event, event]) == []
    assert [log["event"] for log in logs] == ["default credentials cannot be told"]


async def test_a_batch_is_judged_by_one_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_of()
    tagger = CompositeTagger([RuleEngineTagger(None, engine), *all_lifters(engine)])
    before, calls = engine.snapshot(), []
    real = engine.lift

    def spy(event: TaggerEvent, lifter: str, snapshot: Any, now: Any) -> list[TTPTag]:
        engine.replace([], {})
        calls.append(snapshot is before)
        return real(event, lifter, snapshot, now)

    monkeypatch.setattr(engine, "lift", spy)
    events = [
        TaggerEvent("intel", "s", "a", payload=LISTED),
        TaggerEvent("identity", "i", None, "i", payload={"account_count": 5}),
    ]
    tags = await tagger.tag_batch(events)
    assert [tag.rule_id for tag in tags] == ["L0201", "L0501"]
    assert calls == [True, True]
    assert tags[1].attacker_uuid is None
