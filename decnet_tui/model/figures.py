"""The figures of a heartbeat in plain words: what was lost or limited first, then work done. Knows no terminal.

Figures that are more than nothing are told; all of them are in the JSON. A figure that nobody has put into words
yet is told by its own name, so that nothing is hidden.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from decnet.hostile import visible

Words = tuple[str, str]
"""One of them, several of them."""
LOSS: dict[str, Words] = {
    "dead_lettered": ("event given up", "events given up"),
    "publish_dropped": (
        "message to another system dropped: too many wait",
        "messages to other systems dropped: too many wait",
    ),
    "publish_given_up": ("message to another system given up", "messages to other systems given up"),
    "outbox_refused": (
        "piece of news refused by the bus for good",
        "pieces of news refused by the bus for good",
    ),
    "lines_refused": ("line refused", "lines refused"),
    "refused": ("line refused", "lines refused"),
    "remote_refused": (
        "event of a remote sensor refused",
        "events of remote sensors refused",
    ),
    "remote_recordings_missing": (
        "recording of a remote sensor missing",
        "recordings of remote sensors missing",
    ),
    "sessions_evicted": ("session ended early for want of room", "sessions ended early for want of room"),
    "evicted": ("session ended early for want of room", "sessions ended early for want of room"),
    "bytes_lost": ("byte gone before it was read", "bytes gone before they were read"),
    "lost_bytes": ("byte gone before it was read", "bytes gone before they were read"),
    "lines_given_up": ("unfinished line given up", "unfinished lines given up"),
    "given_up": ("unfinished line given up", "unfinished lines given up"),
    "sessions_overfull": ("session with more in it than is kept", "sessions with more in them than is kept"),
    "overfull": ("session with more in it than is kept", "sessions with more in them than is kept"),
    "recordings_too_large": ("recording too large", "recordings too large"),
    "lines_cut": ("long line cut", "long lines cut"),
    "cut": ("long line cut", "long lines cut"),
    "events_unpublishable": ("event the bus refused for good", "events the bus refused for good"),
    "unpublishable": ("event the bus refused for good", "events the bus refused for good"),
    "values_cut": ("long value of another honeypot's log cut", "long values of other honeypots' logs cut"),
    "elements_dropped": ("element of a long list not read", "elements of long lists not read"),
    "commands_dropped": ("command beyond a session's bound", "commands beyond a session's bound"),
    "items_dropped": ("fact beyond a session's bound", "facts beyond a session's bound"),
    "users_capped": ("look at a secret of too many users", "looks at a secret of too many users"),
    "recordings_missing": ("recording missing", "recordings missing"),
    "recordings_foreign": ("recording of another session", "recordings of another session"),
    "sessions_cut": ("session read in part only", "sessions read in part only"),
    "unreadable": ("session not read again", "sessions not read again"),
    "views_capped": ("command with too many readings", "commands with too many readings"),
    "parts_apart": ("part of a very long session judged alone", "parts of very long sessions judged alone"),
    "story_capped": ("step beyond what a story tells of", "steps beyond what stories tell of"),
    "script_capped": (
        "file or command beyond what a session tells of",
        "files or commands beyond what sessions tell of",
    ),
    "facts_capped": ("fact beyond what rules look at", "facts beyond what rules look at"),
    "evidence_cut": ("piece of evidence cut", "pieces of evidence cut"),
    "attempts_uncounted": ("look at more log-ins than are counted", "looks at more log-ins than are counted"),
    "sessions_refused": ("session that could not be judged", "sessions that could not be judged"),
    "malformed": ("event that could not be read", "events that could not be read"),
    "element_faults": ("element that could not be read", "elements that could not be read"),
    "questions_dropped": (
        "question to a service dropped: too many wait",
        "questions to services dropped: too many wait",
    ),
    "questions_given_up": (
        "question without an answer to be believed",
        "questions without an answer to be believed",
    ),
    "questions_left_out": (
        "file or URL of one session not asked about",
        "files or URLs of one session not asked about",
    ),
    "canary_hits_dropped": (
        "hit of a canary token dropped: too many wait",
        "hits of canary tokens dropped: too many wait",
    ),
    "canary_hits_failed": (
        "hit of a canary token that could not be stored",
        "hits of canary tokens that could not be stored",
    ),
    "canary_triggers_left_out": (
        "trip of a canary token only counted",
        "trips of canary tokens only counted",
    ),
    "canary_keys_left_out": (
        "session with a planted key beyond what a trip counts",
        "sessions with planted keys beyond what trips count",
    ),
    "canary_webhooks_left_out": (
        "webhook beyond what a trip counts",
        "webhooks beyond what trips count",
    ),
    "canary_webhooks_beyond": (
        "webhook about a token beyond those that are listed",
        "webhooks about tokens beyond those that are listed",
    ),
    "http_texts_cut": ("long path or user agent cut", "long paths or user agents cut"),
    "http_turned_away": (
        "HTTP connection turned away: too many",
        "HTTP connections turned away: too many",
    ),
    "http_heads_too_long": ("HTTP request with too long a head", "HTTP requests with too long heads"),
    "http_bodies_too_long": ("HTTP request with too long a body", "HTTP requests with too long bodies"),
    "dns_too_often": (
        "DNS question dropped: too many in a second",
        "DNS questions dropped: too many in a second",
    ),
    "dns_tcp_turned_away": (
        "DNS connection turned away: too many",
        "DNS connections turned away: too many",
    ),
    "mail_refused": ("mail connection turned away: too many", "mail connections turned away: too many"),
    "mail_too_large": ("mail that was too large", "mails that were too large"),
    "mail_recipients_beyond": (
        "recipient of a mail counted only",
        "recipients of mails counted only",
    ),
    "mail_messages_beyond": (
        "mail connection closed: too many mails",
        "mail connections closed: too many mails",
    ),
    "mail_folder_full": (
        "mail judged and not kept: no room",
        "mails judged and not kept: no room",
    ),
    "mail_not_stored": ("mail event that could not be stored", "mail events that could not be stored"),
    "mail_depth_capped": ("mail with parts too deep to open", "mails with parts too deep to open"),
    "mail_parts_capped": ("part of a mail not looked at", "parts of mails not looked at"),
    "mail_heads_capped": ("head of a mail read in part", "heads of mails read in part"),
    "mail_archive_lists_capped": (
        "archive in a mail searched, not listed",
        "archives in mails searched, not listed",
    ),
    "mail_urls_capped": ("mail with too many links", "mails with too many links"),
    "entries_refused": ("entry of a list refused", "entries of lists refused"),
    "entries_beyond": ("entry beyond a list's bound", "entries beyond lists' bounds"),
    "contradictory": ("observation that contradicts its topic", "observations that contradict their topics"),
}
"""What is not in the database, or only in part."""
TROUBLE: dict[str, Words] = {
    "publish_failures": ("publish failure", "publish failures"),
    "beats_not_stored": ("heartbeat not stored", "heartbeats not stored"),
    "times_blocked": ("time locked by somebody else", "times locked by somebody else"),
    "merges_refused": (
        "merge that an operator's word stands against",
        "merges that operators' words stand against",
    ),
    "partings_held": ("parting that parts nothing", "partings that part nothing"),
    "sessions_unlinkable": ("session that linking cannot read", "sessions that linking cannot read"),
    "linking_contradictions": (
        "time that rows of linking contradicted each other",
        "times that rows of linking contradicted each other",
    ),
    "groups_too_large": ("group of identities too large to join", "groups of identities too large to join"),
    "notify_dropped": ("notification dropped", "notifications dropped"),
    "publish_failed": (
        "try to reach another system that failed",
        "tries to reach other systems that failed",
    ),
    "notify_failed": ("notification failed", "notifications failed"),
    "reconnects": ("reconnection", "reconnections"),
    "connect_failures": ("connection failed", "connections failed"),
    "live_lost": ("live event lost by a slow reader", "live events lost by slow readers"),
    "live_malformed": ("live message that was no event", "live messages that were no events"),
    "restarts": ("restart", "restarts"),
    "lines_unknown": ("line of an unknown kind", "lines of an unknown kind"),
    "unknown": ("line of an unknown kind", "lines of an unknown kind"),
    "lines_homeless": ("remark on a session not known", "remarks on sessions not known"),
    "homeless": ("remark on a session not known", "remarks on sessions not known"),
    "lines_unfinished": ("line not finished", "lines not finished"),
    "unfinished": ("line not finished", "lines not finished"),
    "lines_bad_utf8": ("line not in UTF-8", "lines not in UTF-8"),
    "bad_utf8": ("line not in UTF-8", "lines not in UTF-8"),
    "clock_jumps": ("jump of a clock", "jumps of a clock"),
    "truncations": ("truncation", "truncations"),
    "files_vanished": ("file vanished", "files vanished"),
    "vanished": ("file vanished", "files vanished"),
    "files_passed_over": ("file passed over", "files passed over"),
    "passed_over_count": ("file passed over", "files passed over"),
    "recordings_waiting": (
        "recording that had to wait for the bus",
        "recordings that had to wait for the bus",
    ),
    "formats_failed": (
        "fault in your tables of formats",
        "faults in your tables of formats",
    ),
    "rules_failed": ("rule file that does not load", "rule files that do not load"),
    "rules_tripped": ("rule out of action after failures", "rules out of action after failures"),
    "rule_failures": ("failure of a rule", "failures of rules"),
    "news_cut": ("piece of news that names fewer tags", "pieces of news that name fewer tags"),
    "unknown_keys": ("key that nobody knows", "keys that nobody knows"),
    "failed_changes": ("change of a decoy failed", "changes of decoys failed"),
    "failing": ("decoy failing", "decoys failing"),
    "sources_faulty": ("intel file not in force as it is", "intel files not in force as they are"),
    "sources_refused": ("intel file refused", "intel files refused"),
    "sources_passed_over": ("intel file passed over", "intel files passed over"),
    "questions_failed": ("question to a service failed", "questions to services failed"),
    "canary_unknown": ("try of a token that is not known", "tries of tokens that are not known"),
    "canary_revoked": ("hit of a revoked token", "hits of revoked tokens"),
    "http_reports_refused": ("report of a browser refused", "reports of browsers refused"),
    "http_tls_hellos": ("TLS hello on a plain port", "TLS hellos on a plain port"),
    "http_malformed": ("HTTP connection without a request", "HTTP connections without a request"),
    "http_timeouts": ("HTTP connection too slow", "HTTP connections too slow"),
    "http_broken": ("HTTP connection broken off", "HTTP connections broken off"),
    "dns_broken": ("DNS packet that is no question", "DNS packets that are no questions"),
    "dns_refused": ("DNS question about other zones", "DNS questions about other zones"),
    "dns_tcp_timeouts": ("DNS connection too slow", "DNS connections too slow"),
    "dns_tcp_broken": ("DNS connection broken off", "DNS connections broken off"),
    "mail_timeouts": ("mail connection out of time", "mail connections out of time"),
    "mail_faults": ("fault in a mail connection", "faults in mail connections"),
    "mail_urls_broken": ("link of a mail that could not be read", "links of mails that could not be read"),
    "leases_lost": ("time that asking was given up", "times that asking was given up"),
}
"""What had to be done again, was kept though nobody knew it, or is news only."""
WORK: dict[str, Words] = {
    "publish_sent": ("message to another system delivered", "messages to other systems delivered"),
    "publish_waiting": ("message waits for another system", "messages wait for other systems"),
    "outbox": ("piece of news waiting for the bus", "pieces of news waiting for the bus"),
    "stream_fill_pct": ("% of the stream's room used", "% of the stream's room used"),
    "files": ("file", "files"),
    "bytes_behind": ("byte behind", "bytes behind"),
    "lines_read": ("line read", "lines read"),
    "events_published": ("event published", "events published"),
    "remote_sensors": ("remote sensor", "remote sensors"),
    "remote_events": ("event of remote sensors", "events of remote sensors"),
    "sessions_open": ("session open", "sessions open"),
    "open_sessions": ("session open", "sessions open"),
    "last_line_age": ("second since the last line", "seconds since the last line"),
    "derived": ("event derived", "events derived"),
    "observations": ("observation", "observations"),
    "sessions": ("session", "sessions"),
    "recordings_read": ("recording read", "recordings read"),
    "keystroke_events": ("keystroke", "keystrokes"),
    "tags_told_once": ("tag told with its flood", "tags told with their floods"),
    "rules_loaded": ("rule loaded", "rules loaded"),
    "rules_superseded": ("rule on an older technique", "rules on older techniques"),
    "suppressed": ("hit suppressed", "hits suppressed"),
    "tags_replaced_later": (
        "stored tag that its whole session replaced",
        "stored tags that their whole sessions replaced",
    ),
    "tags_replaced": ("tag that a session's rule knows better", "tags that a session's rules know better"),
    "tags_inserted": ("tag stored", "tags stored"),
    "tags_ignored": ("tag of an ignored source", "tags of ignored sources"),
    "window_hits": ("hit of a window", "hits of windows"),
    "windows_fired": ("window fired", "windows fired"),
    "window_hits_dropped": ("window hit no longer needed", "window hits no longer needed"),
    "deferred": ("observation put off", "observations put off"),
    "waiting": ("observation waiting for its attacker", "observations waiting for their attackers"),
    "alerts_told": ("alert told", "alerts told"),
    "sessions_linked": ("session linked", "sessions linked"),
    "linking_waiting": ("session waiting to be linked", "sessions waiting to be linked"),
    "sessions_without_address": ("session of no address", "sessions of no address"),
    "deckies": ("decoy", "decoys"),
    "pending": ("change waiting", "changes waiting"),
    "rotations": ("rotation", "rotations"),
    "sources_read": ("intel file in force", "intel files in force"),
    "sources_taken": ("intel file taken over", "intel files taken over"),
    "questions_asked": ("question to a service", "questions to services"),
    "questions_waiting": ("question waiting", "questions waiting"),
    "answers_told": ("answer told", "answers told"),
    "not_asked": ("thing that nobody is asked about", "things that nobody is asked about"),
    "bait_reads": ("bait that a session read", "baits that sessions read"),
    "canary_triggers": ("trip of a canary token", "trips of canary tokens"),
    "canary_keys_back": ("planted key that came back", "planted keys that came back"),
    "canary_keys_again": (
        "further session with a planted key that came back",
        "further sessions with planted keys that came back",
    ),
    "canary_keys_known": ("session with a planted key read again", "sessions with planted keys read again"),
    "canary_webhooks": ("trip that another service told of", "trips that other services told of"),
    "canary_webhooks_again": ("further webhook of a trip", "further webhooks of trips"),
    "canary_webhooks_known": ("webhook read again", "webhooks read again"),
    "canary_hits_again": ("further hit of a trip", "further hits of trips"),
    "canary_reports": ("browser that told what it is", "browsers that told what they are"),
    "http_requests": ("HTTP request", "HTTP requests"),
    "dns_questions": ("DNS question", "DNS questions"),
    "mail_connections": ("mail connection", "mail connections"),
    "mail_inside": ("mail connection open", "mail connections open"),
    "mail_messages": ("mail", "mails"),
    "mail_kept": ("mail kept", "mails kept"),
    "mail_logins": ("mail log-in", "mail log-ins"),
    "lines_left_out": ("line that its table leaves out", "lines that their tables leave out"),
    "left_out": ("line that its table leaves out", "lines that its table leaves out"),
    "values_not_derived": (
        "value that a fingerprint does not follow from",
        "values that fingerprints do not follow from",
    ),
    "not_derived": (
        "value that a fingerprint does not follow from",
        "values that fingerprints do not follow from",
    ),
    "lines_repeated": ("line that came again", "lines that came again"),
    "repeated": ("line that came again", "lines that came again"),
    "lines_joined": ("line joined across a rotation", "lines joined across a rotation"),
    "joined_lines": ("line joined across a rotation", "lines joined across a rotation"),
}
"""What was done, or is under way."""
_SAID = frozenset(
    {"worker", "ts", "pid", "host", "state", "processed", "failed", "lag", "last_event_ts", "age"}
    | {"degraded", "note", "sensors", "url", "age_s", "status", "extractor_version"}
    | {"alerts_checked", "next_check_s"}
)
"""Fields with a column or a place of their own."""
_KNOWN = _SAID | LOSS.keys() | TROUBLE.keys() | WORK.keys()


def render_figure(key: str, value: int | float, words: Mapping[str, Words]) -> str:
    """``3 lines refused``."""
    one, several = words[key]
    shown = value if isinstance(value, int) else round(value)
    return f"{shown}{'' if one.startswith('%') else ' '}{one if shown == 1 else several}"


def losses(payload: Mapping[str, Any]) -> list[str]:
    """What a worker, a part or a sensor says that was lost or limited, in words."""
    return [render_figure(key, n, LOSS) for key in LOSS if (n := _amount(payload.get(key)))]


def troubles(payload: Mapping[str, Any]) -> list[str]:
    """What it says that went wrong without a loss, in words."""
    return [render_figure(key, n, TROUBLE) for key in TROUBLE if (n := _amount(payload.get(key)))]


def works(payload: Mapping[str, Any]) -> list[str]:
    """What it says about its work, in words."""
    return [render_figure(key, n, WORK) for key in WORK if (n := _amount(payload.get(key)))]


def others(payload: Mapping[str, Any]) -> list[str]:
    """Figures and words without a place here, by their own names."""
    rest = ((k, v) for k, v in payload.items() if k not in _KNOWN)
    return [
        visible(f"{k.replace('_', ' ')} {v}", 80) for k, v in rest if _amount(v) or (isinstance(v, str) and v)
    ]


def _amount(value: Any) -> int | float:
    """A number, or the sum of numbers by kind, that is more than nothing; else 0."""
    if isinstance(value, Mapping):
        value = sum(number for number in value.values() if isinstance(number, int))
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 1e15
    return value if good else 0


def notes(payload: Mapping[str, Any]) -> list[str]:
    """All that is worth a word: why it is not well, what was lost, what was done."""
    reason = payload.get("degraded") or payload.get("note")
    why = [visible(reason, 400)] if reason else []
    return [*why, *losses(payload), *troubles(payload), *works(payload), *others(payload)]
