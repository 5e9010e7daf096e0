"""From one session to BEHAVE-SHELL observations: labels, timings and hashes, never what was typed.

Pure parts: the recording reader (``ttylog``), the line editor (``editor``), key statistics (``keys``),
the primitives by subject, ``extract`` that puts them together, ``summaries`` over the sessions of one
attacker. ``worker`` is the thin part that talks to bus and database. What observations mean over many
sessions is left to ``decnet.attribution``.
"""

EXTRACTOR_VERSION = 1
"""Part of every evidence_ref: raise it when values change, and stored sessions are extracted again."""
SOURCE = "decnet.behave"
