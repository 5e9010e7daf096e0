"""The one table that binds a topic to its record."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from decnet.events import (
    attacker,
    attribution,
    campaign,
    canary,
    credential,
    decky,
    email,
    identity,
    observation,
    session,
    system,
    topology,
    ttp,
)
from decnet.events.record import Record

RECORDS: Mapping[str, type[Record]] = {
    "attacker.observed": attacker.Observed,
    "attacker.session.started": session.SessionStarted,
    "attacker.session.progress": session.SessionProgress,
    "attacker.session.ended": session.SessionEnded,
    "attacker.fingerprinted": attacker.Fingerprinted,
    "attacker.intel.enriched": attacker.IntelEnriched,
    "attacker.scored": attacker.Scored,
    "attacker.observation.>": observation.Observation,
    "attacker.observations": observation.Observations,
    "credential.captured": credential.Captured,
    "credential.reuse.detected": credential.ReuseDetected,
    "identity.formed": identity.Formed,
    "identity.merged": identity.Merged,
    "identity.unmerged": identity.Unmerged,
    "campaign.formed": campaign.CampaignFormed,
    "campaign.merged": campaign.CampaignMerged,
    "campaign.unmerged": campaign.CampaignUnmerged,
    "campaign.identity.assigned": campaign.CampaignAssigned,
    "email.received": email.Received,
    "canary.*.placed": canary.Placed,
    "canary.*.triggered": canary.Triggered,
    "canary.*.revoked": canary.Revoked,
    "attribution.profile.state_changed": attribution.StateChanged,
    "attribution.profile.multi_actor_suspected": attribution.MultiActorSuspected,
    "ttp.tagged": ttp.Tagged,
    "ttp.session.judged": ttp.SessionJudged,
    "ttp.rule.fired.*": ttp.RuleFired,
    "ttp.rule.suppressed": ttp.RuleSuppressed,
    "ttp.rule.reloaded.*": ttp.RuleReloaded,
    "ttp.rule.state.*": ttp.RuleState,
    "decky.*.state": decky.State,
    "decky.*.mutate_request": decky.MutateRequest,
    "decky.*.mutation": decky.Mutation,
    "topology.*.mutation.*": topology.Mutation,
    "topology.*.status": topology.Status,
    "system.*.health": system.Health,
    "system.*.control": system.Control,
    "system.deadletter.*": system.DeadLettered,
}
"""Pattern of a topic (NATS wildcards) → what its payload is."""


@lru_cache(maxsize=4096)
def pattern_of(topic: str) -> str | None:
    """The pattern that covers a topic (a pattern covers itself); None for topics without a record."""
    if topic in RECORDS:
        return topic
    words = topic.split(".")
    for pattern in RECORDS:
        wanted = pattern.split(".")
        fits = len(words) >= len(wanted) if wanted[-1] == ">" else len(words) == len(wanted)
        if fits and all(w in ("*", ">", have) for w, have in zip(wanted, words, strict=False)):
            return pattern
    return None


def record_of(topic: str) -> type[Record] | None:
    """The record of a topic; None for topics without one (probes' own, traffic)."""
    pattern = pattern_of(topic)
    return None if pattern is None else RECORDS[pattern]
