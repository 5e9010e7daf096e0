"""One line for one event: its source and a summary, both through ``visible()``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from decnet.hostile import visible
from decnet.keyed import login_label
from decnet_tui.model.words import counted, span

LIMIT = 240
"""Characters of a summary; wider terminals show the rest in the detail."""
SOURCE_LIMIT = 45
UNNAMED = ("id:", "at:")
"""How the source of an event begins whose address is not known (yet)."""
_MOST = 1e15
"""Beyond, a number is no duration or confidence; an integer of JSON may be too long to be written as one."""
Payload = Mapping[str, Any]
_LINKED: Mapping[str, tuple[tuple[str, str], ...]] = {
    "identity.merged": (("winner_uuid", "id"),),
    "identity.unmerged": (("resurrected", "id"),),
    "campaign.formed": (("campaign_uuid", "c"),),
    "campaign.merged": (("winner_uuid", "c"),),
    "campaign.unmerged": (("resurrected", "c"),),
}
"""Where news of linking name what they are about."""


def short(value: object, length: int = 8) -> str:
    """The first characters of an id, for lists."""
    return visible(value)[:length]


def source_of(topic: str, payload: Payload, known_ips: Mapping[str, str]) -> str:
    """Who or what an event is about: address, identity, attacker, decky or worker."""
    ip = payload.get("attacker_ip") or known_ips.get(str(payload.get("attacker_uuid")))
    if not ip and (several := payload.get("attacker_uuids")) and isinstance(several, list):
        ip = known_ips.get(str(several[0]))
        ip = f"{ip} +{len(several) - 1}" if ip and len(several) > 1 else ip
    if ip:
        return visible(ip, SOURCE_LIMIT)
    for key, label in (("identity_uuid", "id"), ("attacker_uuid", "at"), *_LINKED.get(topic, ())):
        if payload.get(key):
            return f"{label}:{short(payload[key])}"
    parts = topic.split(".")
    if parts[0] in ("decky", "system", "canary", "topology") and len(parts) > 2:
        return visible(parts[2] if parts[1] == "deadletter" else parts[1], SOURCE_LIMIT)
    return visible(
        payload.get("decky_id") or payload.get("rule_id") or payload.get("set_by") or "-", SOURCE_LIMIT
    )


def summarise(topic: str, payload: Payload) -> str:
    """What an event says, in one line of at most :data:`LIMIT` characters."""
    for prefix, writer in _WRITERS:
        if topic.startswith(prefix):
            return visible(writer(topic, payload), LIMIT)
    return visible(_fields(topic, payload), LIMIT)


def _fields(_: str, p: Payload) -> str:
    return " ".join(f"{k}={_brief(v)}" for k, v in list(p.items())[:8])


def _brief(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{{len(value)}}}"
    if isinstance(value, (list, tuple)):
        return _listed(value)
    return str(value)[:60]


def _listed(value: Any, count: int = 3) -> str:
    if not isinstance(value, (list, tuple)):
        return str(value)[:60] if value is not None else "-"
    more = f" +{len(value) - count}" if len(value) > count else ""
    return ",".join(str(v)[:40] for v in value[:count]) + more


def _text(payload: Payload, *keys: str) -> str:
    return " ".join(str(payload[k])[:80] for k in keys if payload.get(k) not in (None, ""))


def _observed(_: str, p: Payload) -> str:
    where = _text(p, "decky_id", "service")
    return f"first seen on {where}" if where else "first seen"


def _session_started(_: str, p: Payload) -> str:
    return f"{_text(p, 'decky_id', 'service')} {short(p.get('session_id'), 7)}"


def _session_progress(_: str, p: Payload) -> str:
    commands, facts = dicts(p.get("commands")), dicts(p.get("facts"))
    said = [str(c.get("command_text"))[:160] for c in commands[-1:]]
    said += [f"{fact.get('kind')} {str(fact.get('what'))[:80]}" for fact in facts[-1:]]
    return f"{_text(p, 'decky_id', 'service')} {short(p.get('session_id'), 7)}: {'; '.join(said)}"


def dicts(value: object) -> list[Mapping[str, Any]]:
    """The objects in a list; none where it is no list."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _session_ended(_: str, p: Payload) -> str:
    raw = p.get("commands")
    commands = raw if isinstance(raw, list) else []
    first = commands[0].get("command_text") if commands and isinstance(commands[0], Mapping) else None
    total = p.get("command_count", len(commands))
    count = total if isinstance(total, int) else None
    head = f"{_text(p, 'decky_id', 'service')} {counted(count, 'cmd')} {_took(p.get('duration_s'))}"
    return f"{head}: {str(first)[:160]}" if first else f"{head} {_text(p, 'end_reason')}"


def _took(value: Any) -> str:
    return span(value) if _is_number(value) else "?"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _MOST


def _observation(topic: str, p: Payload) -> str:
    primitive = p.get("primitive") or topic.removeprefix("attacker.observation.")
    return f"{primitive} = {_brief(p.get('value'))} {_confidence(p)}"


def _confidence(p: Payload) -> str:
    value = p.get("confidence")
    return f"{value:.2f}" if _is_number(value) else ""


def _credential(_: str, p: Payload) -> str:
    outcome = "accepted" if p.get("success") else "refused"
    login = login_label(_text(p, "username"), _text(p, "secret_hmac") or None)
    return f"{_text(p, 'decky_id', 'service')} {login} {outcome}"


def _reuse(_: str, p: Payload) -> str:
    return f"one {_text(p, 'secret_kind') or 'secret'} used {_text(p, 'reuse_count')}x on {_text(p, 'target_count')} targets"


def _fired(_: str, p: Payload) -> str:
    return f"{_listed(p.get('rule_ids'))} session {short(p.get('session_id'), 7) or '-'}"


def _tagged(_: str, p: Payload) -> str:
    tags = p.get("tag_uuids")
    return f"{counted(len(tags) if isinstance(tags, list) else None, 'tag')} {_listed(p.get('techniques_added'), 5)}"


def _judged(_: str, p: Payload) -> str:
    return f"{_text(p, 'severity')}: {_text(p, 'severity_reason')}"


def _rule_state(_: str, p: Payload) -> str:
    ceiling = f" {p['confidence_max']}" if p.get("confidence_max") is not None else ""
    by = f" by {p['set_by']}" if p.get("set_by") else " at expiry" if p.get("auto_revert") else ""
    return f"{_text(p, 'rule_id', 'state')}{ceiling}{by} {_text(p, 'reason')}"


def _multi(_: str, p: Payload) -> str:
    return f"several people suspected {_confidence(p)}: {_listed(p.get('families'))}; {_text(p, 'evidence_summary')}"


def _profile(_: str, p: Payload) -> str:
    return (
        f"{_text(p, 'primitive')} {p.get('old_state') or 'new'} -> {_text(p, 'new_state')} {_confidence(p)}"
    )


def _health(_: str, p: Payload) -> str:
    return (
        f"{_text(p, 'state')} done {_text(p, 'processed')} failed {_text(p, 'failed')} lag {_text(p, 'lag')}"
    )


def _deadletter(_: str, p: Payload) -> str:
    return f"{_text(p, 'topic')}: {_text(p, 'reason')}"


def _mutation(_: str, p: Payload) -> str:
    old, new = (_listed(p.get(name)) or "nothing" for name in ("old_services", "new_services"))
    return f"{old} -> {new} {_text(p, 'trigger', 'outcome')}"


def _formed(_: str, p: Payload) -> str:
    return f"identity {_identity(p.get('identity_uuid'))} begins"


def _merged(_: str, p: Payload) -> str:
    return f"{_identity(p.get('loser_uuid'))} is {_identity(p.get('winner_uuid'))} now{_because(p)}"


def _unmerged(_: str, p: Payload) -> str:
    return f"{_identity(p.get('resurrected'))} is no part of {_identity(p.get('former_winner'))} any more{_because(p)}"


def _campaign_formed(_: str, p: Payload) -> str:
    many = p.get("identity_uuids")
    count = (
        f" {counted(len(many), 'identity', 'identities')}" if isinstance(many, list) and len(many) > 1 else ""
    )
    return f"campaign {_kit(p.get('campaign_uuid'))} {_text(p, 'name')}{count}{_because(p)}"


def _campaign_merged(_: str, p: Payload) -> str:
    return f"campaign {_kit(p.get('loser_uuid'))} is {_kit(p.get('winner_uuid'))} now{_because(p)}"


def _campaign_unmerged(_: str, p: Payload) -> str:
    return f"campaign {_kit(p.get('resurrected'))} is no part of {_kit(p.get('former_winner'))} any more{_because(p)}"


def _assigned(_: str, p: Payload) -> str:
    return f"{_identity(p.get('identity_uuid'))} has the kit of {_kit(p.get('campaign_uuid'))}{_because(p)}"


def _identity(value: object) -> str:
    return f"i-{short(value)}" if value else "i-?"


def _kit(value: object) -> str:
    return f"c-{short(value)}" if value else "c-?"


def _because(p: Payload) -> str:
    reasons = p.get("reasons")
    return f": {_listed(reasons)}" if reasons and isinstance(reasons, list) else ""


def _scored(_: str, p: Payload) -> str:
    return f"{_text(p, 'score')}, over {_text(p, 'threshold')} now: {_text(p, 'event_count')} events"


def _canary(topic: str, p: Payload) -> str:
    """A token's news; its first trip with what it is, where it lies and who read it there."""
    what = topic.rpartition(".")[2]
    if what != "triggered":
        return f"{what} {_lies(p)}" if _text(p, "decky_id") else f"{what} {_text(p, 'reason')}"
    by = " by a resolver" if p.get("peer_kind") == "resolver" else ""
    if p.get("first_trip") is not True:
        again = f"set off{by}, {_text(p, 'service')} says" if p.get("service") else f"set off again{by}"
        return f"{again}: {_text(p, 'decky_id', 'request_path', 'dns_qname', 'memo')}"
    return f"first trip{by}: {first_trip(p)}"


def first_trip(p: Payload) -> str:
    """What lies behind a token's first trip: what it is, where it lies and who read it there last before."""
    if p.get("read_session_id"):
        return f"{_lies(p)}, read by {_text(p, 'read_ip') or '?'} in {short(p['read_session_id'], 7)}"
    unread = ", nobody is known to have read it" if p.get("path") else ""
    return f"{_lies(p)}{unread}"


def _lies(p: Payload) -> str:
    """What a token is and where: its path and decky, else what its memo says."""
    decky = _text(p, "decky_id")
    told = (_text(p, "kind"), _text(p, "path"), f"on {decky}" if decky else _text(p, "memo"))
    return " ".join(filter(None, told))


def _fingerprinted(_: str, p: Payload) -> str:
    kind = _text(p, "type")
    return f"{kind} {_text(p, kind) or _text(p, 'value')}".strip() or "a print of its client"


def _enriched(_: str, p: Payload) -> str:
    asked = p.get("providers")
    by = f", asked {_listed(asked)}" if asked and isinstance(asked, list) else ""
    name = f", {_text(p, 'ptr')}" if p.get("ptr") else ""
    return f"{_text(p, 'aggregate_verdict') or 'nothing known'}{name}{by}"


def _mail(_: str, p: Payload) -> str:
    sender = f" from {_text(p, 'from_domain')}" if p.get("from_domain") else ""
    many = p.get("rcpt_count")
    to = f" to {counted(many, 'address', 'addresses')}" if isinstance(many, int) and many else ""
    return f"{_text(p, 'decky_id', 'service')}{sender}{to}: {_text(p, 'subject') or 'no subject'}"


def _decoy(topic: str, p: Payload) -> str:
    leaf = topic.rpartition(".")[2]
    if leaf == "mutation":
        return _mutation(topic, p)
    because = f": {_text(p, 'reason')}" if p.get("reason") else ""
    if leaf == "mutate_request":
        return f"{_text(p, 'requested_by') or 'somebody'} asks for other services{because}"
    return (
        f"{_text(p, 'status')} {_listed(p.get('services'))}{because}"
        if leaf == "state"
        else _fields(topic, p)
    )


def _suppressed(_: str, p: Payload) -> str:
    count, window = p.get("count"), p.get("window_s")
    times = counted(count, "match", "matches") if isinstance(count, int) else "matches"
    return f"{_text(p, 'rule_id')} {times} not tagged in {_took(window)}: {_text(p, 'reason')}"


def _reloaded(_: str, p: Payload) -> str:
    what = "is gone" if p.get("deleted") else f"was changed, version {_text(p, 'rule_version') or '?'}"
    return f"{_text(p, 'rule_id')} {what}"


def _wiring(topic: str, p: Payload) -> str:
    because = f": {_text(p, 'reason')}" if p.get("reason") else ""
    return (
        f"{_text(p, 'op', 'state')} {'' if topic.endswith('.status') else topic.rpartition('.')[2]}{because}"
    )


_WRITERS: tuple[tuple[str, Callable[[str, Payload], str]], ...] = (
    ("attacker.session.started", _session_started),
    ("attacker.session.progress", _session_progress),
    ("attacker.session.ended", _session_ended),
    ("attacker.observed", _observed),
    ("attacker.scored", _scored),
    ("attacker.fingerprinted", _fingerprinted),
    ("attacker.intel.enriched", _enriched),
    ("attacker.observation.", _observation),
    ("credential.captured", _credential),
    ("credential.reuse", _reuse),
    ("ttp.rule.fired.", _fired),
    ("ttp.rule.state.", _rule_state),
    ("ttp.rule.suppressed", _suppressed),
    ("ttp.rule.reloaded.", _reloaded),
    ("ttp.tagged", _tagged),
    ("ttp.session.judged", _judged),
    ("attribution.profile.multi", _multi),
    ("attribution.profile.state", _profile),
    ("identity.formed", _formed),
    ("identity.merged", _merged),
    ("identity.unmerged", _unmerged),
    ("campaign.formed", _campaign_formed),
    ("campaign.merged", _campaign_merged),
    ("campaign.unmerged", _campaign_unmerged),
    ("campaign.identity.assigned", _assigned),
    ("system.deadletter.", _deadletter),
    ("canary.", _canary),
    ("decky.", _decoy),
    ("email.", _mail),
    ("topology.", _wiring),
    ("system.", lambda t, p: _health(t, p) if t.endswith(".health") else _fields(t, p)),
)
