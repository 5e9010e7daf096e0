"""What kind of event a topic is, in a word of at most :data:`WIDTH` characters, for lines that say the rest in words."""

from __future__ import annotations

WIDTH = 8
_KINDS: tuple[tuple[str, str], ...] = (
    ("attacker.observed", "new"),
    ("attacker.scored", "scored"),
    ("attacker.fingerprinted", "client"),
    ("attacker.intel.", "intel"),
    ("attacker.observation", "habit"),
    ("credential.captured", "login"),
    ("credential.reuse", "reuse"),
    ("identity.", "who"),
    ("campaign.", "kit"),
    ("attribution.profile.multi", "alert"),
    ("attribution.profile.state", "profile"),
    ("ttp.tagged", "tagged"),
    ("ttp.rule.", "rule"),
    ("decky.", "decoy"),
    ("email.", "mail"),
    ("system.deadletter.", "given up"),
    ("system.", "engine"),
)
"""The first that fits counts."""


def kind_of(topic: str) -> str:
    """The word of a topic; of one that nobody knows how it begins."""
    for prefix, word in _KINDS:
        if topic.startswith(prefix):
            return word
    return topic.partition(".")[0][:WIDTH]
