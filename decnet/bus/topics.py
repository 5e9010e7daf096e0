"""Every topic of the bus: roots, leaves, builders, and which of them are durable.

Topics are built from our own ids only, never from attacker text. The hierarchy is wildcard-stable:
adding a leaf is fine, renaming one is a breaking change.
"""

from __future__ import annotations

import re

TOPOLOGY = "topology"
DECKY = "decky"
ATTACKER = "attacker"
IDENTITY = "identity"
CAMPAIGN = "campaign"
CREDENTIAL = "credential"
EMAIL = "email"
CANARY = "canary"
ATTRIBUTION = "attribution"
TTP = "ttp"
SYSTEM = "system"
SENSOR = "sensor"
"""What a remote sensor says stands below ``sensor.<name>.`` until the centre has taken it."""

MUTATION_ENQUEUED = "enqueued"
MUTATION_APPLYING = "applying"
MUTATION_APPLIED = "applied"
MUTATION_FAILED = "failed"
TOPOLOGY_STATUS = "status"
DECKY_STATE = "state"
DECKY_TRAFFIC = "traffic"
DECKY_MUTATE_REQUEST = "mutate_request"
DECKY_MUTATION = "mutation"
ATTACKER_OBSERVED = "observed"
ATTACKER_SCORED = "scored"
ATTACKER_FINGERPRINTED = "fingerprinted"
ATTACKER_SESSION_STARTED = "session.started"
ATTACKER_SESSION_PROGRESS = "session.progress"
"""Live news, and no more than that: nothing of it is kept."""
ATTACKER_SESSION_ENDED = "session.ended"
ATTACKER_INTEL_ENRICHED = "intel.enriched"
ATTACKER_OBSERVATION_PREFIX = "observation"
ATTACKER_OBSERVATIONS = "observations"
IDENTITY_FORMED = "formed"
IDENTITY_MERGED = "merged"
IDENTITY_UNMERGED = "unmerged"
CAMPAIGN_FORMED = "formed"
CAMPAIGN_MERGED = "merged"
CAMPAIGN_UNMERGED = "unmerged"
CAMPAIGN_IDENTITY_ASSIGNED = "identity.assigned"
CREDENTIAL_CAPTURED = "captured"
CREDENTIAL_REUSE_DETECTED = "reuse.detected"
EMAIL_RECEIVED = "received"
CANARY_PLACED = "placed"
CANARY_TRIGGERED = "triggered"
CANARY_REVOKED = "revoked"
ATTRIBUTION_PROFILE_STATE_CHANGED = "profile.state_changed"
ATTRIBUTION_PROFILE_MULTI_ACTOR_SUSPECTED = "profile.multi_actor_suspected"
TTP_TAGGED = "tagged"
TTP_SESSION_JUDGED = "session.judged"
TTP_RULE_FIRED = "rule.fired"
TTP_RULE_SUPPRESSED = "rule.suppressed"
TTP_RULE_RELOADED = "rule.reloaded"
TTP_RULE_STATE = "rule.state"
SYSTEM_LOG = "log"
SYSTEM_BUS_HEALTH = "bus.health"
SYSTEM_HEALTH = "health"
SYSTEM_CONTROL = "control"
SYSTEM_DEADLETTER = "deadletter"

MAX_TOPIC_LENGTH = 255
"""Characters; a subject of a few thousand makes the client close its connection for good."""

DURABLE_PATTERNS: tuple[str, ...] = (
    "attacker.*",
    "attacker.session.started",
    "attacker.session.ended",
    "attacker.intel.>",
    "attacker.observation.>",
    "credential.>",
    "identity.>",
    "campaign.>",
    "email.>",
    "canary.>",
    "attribution.>",
    "ttp.tagged",
    "ttp.session.judged",
    "ttp.rule.reloaded.*",
    "ttp.rule.state.*",
    "decky.*.state",
    "decky.*.mutate_request",
    "decky.*.mutation",
    "topology.>",
    "system.deadletter.*",
    "sensor.>",
)
"""What the JetStream stream holds; disjoint, as the server demands. The rest is live news only."""

_DURABLE_SESSION_NEWS = (ATTACKER_SESSION_STARTED, ATTACKER_SESSION_ENDED)
_DURABLE_FAMILIES = ("intel", ATTACKER_OBSERVATION_PREFIX)
_DURABLE_RULE_NEWS = (TTP_RULE_RELOADED, TTP_RULE_STATE)
_DURABLE_DECKY_NEWS = (DECKY_STATE, DECKY_MUTATE_REQUEST, DECKY_MUTATION)
_FORBIDDEN = re.compile(r"[.*>\s]")


def is_durable(topic: str) -> bool:
    """Whether the stream keeps events of this topic: exactly what ``DURABLE_PATTERNS`` cover."""
    root, _, rest = topic.partition(".")
    if not rest:
        return False
    if root == ATTACKER:
        return "." not in rest or rest in _DURABLE_SESSION_NEWS or rest.partition(".")[0] in _DURABLE_FAMILIES
    if root in (CREDENTIAL, IDENTITY, CAMPAIGN, EMAIL, CANARY, ATTRIBUTION, TOPOLOGY, SENSOR):
        return True
    if root == TTP:
        return rest in (TTP_TAGGED, TTP_SESSION_JUDGED) or rest.rpartition(".")[0] in _DURABLE_RULE_NEWS
    if root == DECKY:
        return rest.partition(".")[2] in _DURABLE_DECKY_NEWS
    return root == SYSTEM and rest.rpartition(".")[0] == SYSTEM_DEADLETTER


def _segment(value: str, what: str) -> str:
    """``value`` as exactly one topic token; ValueError when it could be none or several."""
    if not isinstance(value, str) or not value or _FORBIDDEN.search(value):
        raise ValueError(
            f"{what} must be one non-empty topic token without '.', '*', '>' or white space: {value!r:.80}"
        )
    return value


def _leaf(value: str, what: str) -> str:
    """``value`` as the rest of a topic, which may hold dots; ValueError when empty."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"{what} must not be empty")
    return value


def _join(*parts: str) -> str:
    topic = ".".join(parts)
    if len(topic) > MAX_TOPIC_LENGTH:
        raise ValueError(f"topic longer than {MAX_TOPIC_LENGTH} characters: {topic[:60]}…")
    return topic


def topology_mutation(topology_id: str, state: str) -> str:
    """``topology.<id>.mutation.<state>``."""
    return _join(TOPOLOGY, _segment(topology_id, "topology id"), "mutation", _segment(state, "state"))


def topology_status(topology_id: str) -> str:
    """``topology.<id>.status``."""
    return _join(TOPOLOGY, _segment(topology_id, "topology id"), TOPOLOGY_STATUS)


def decky(decky_id: str, event_type: str) -> str:
    """``decky.<name>.<event type>``."""
    return _join(DECKY, _segment(decky_id, "decky"), _segment(event_type, "decky event type"))


def system(event_type: str) -> str:
    """``system.<leaf>``."""
    return _join(SYSTEM, _leaf(event_type, "system event type"))


def system_health(worker: str) -> str:
    """``system.<worker>.health``."""
    return _join(SYSTEM, _segment(worker, "worker"), SYSTEM_HEALTH)


def system_control(worker: str) -> str:
    """``system.<worker>.control``."""
    return _join(SYSTEM, _segment(worker, "worker"), SYSTEM_CONTROL)


def system_deadletter(worker: str) -> str:
    """``system.deadletter.<worker>``."""
    return _join(SYSTEM, SYSTEM_DEADLETTER, _segment(worker, "worker"))


def attacker(event_type: str) -> str:
    """``attacker.<leaf>``."""
    return _join(ATTACKER, _leaf(event_type, "attacker event type"))


def attacker_observation(primitive: str) -> str:
    """``attacker.observation.<primitive>``; primitive names hold dots."""
    return _join(ATTACKER, ATTACKER_OBSERVATION_PREFIX, _leaf(primitive, "primitive"))


def identity(event_type: str) -> str:
    """``identity.<leaf>``."""
    return _join(IDENTITY, _leaf(event_type, "identity event type"))


def campaign(event_type: str) -> str:
    """``campaign.<leaf>``."""
    return _join(CAMPAIGN, _leaf(event_type, "campaign event type"))


def credential(event_type: str) -> str:
    """``credential.<leaf>``."""
    return _join(CREDENTIAL, _leaf(event_type, "credential event type"))


def email_topic(event_type: str) -> str:
    """``email.<leaf>``."""
    return _join(EMAIL, _leaf(event_type, "email event type"))


def canary(token_id: str, event_type: str) -> str:
    """``canary.<token>.<event type>``."""
    return _join(CANARY, _segment(token_id, "canary token"), _segment(event_type, "canary event type"))


def attribution(event_type: str) -> str:
    """``attribution.<leaf>``."""
    return _join(ATTRIBUTION, _leaf(event_type, "attribution event type"))


def ttp(event_type: str) -> str:
    """``ttp.<leaf>``."""
    return _join(TTP, _leaf(event_type, "ttp event type"))


def attacker_observations() -> str:
    """``attacker.observations``: all of one session in one event."""
    return _join(ATTACKER, ATTACKER_OBSERVATIONS)


def ttp_rule_fired(technique: str) -> str:
    """``ttp.rule.fired.<technique>``; the parent technique, since a sub-technique id holds a dot."""
    return _join(TTP, TTP_RULE_FIRED, _segment(technique, "technique"))


def ttp_rule_reloaded(rule_id: str) -> str:
    """``ttp.rule.reloaded.<rule>``."""
    return _join(TTP, TTP_RULE_RELOADED, _segment(rule_id, "rule id"))


def ttp_rule_state(rule_id: str) -> str:
    """``ttp.rule.state.<rule>``."""
    return _join(TTP, TTP_RULE_STATE, _segment(rule_id, "rule id"))
