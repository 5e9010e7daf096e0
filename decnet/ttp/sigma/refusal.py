"""Why something of a Sigma rule is not carried over."""

from __future__ import annotations

from decnet.errors import DecnetError


class Refusal(DecnetError):
    """A whole rule, or a part of it, cannot be said in a rule of ours; the text is the reason."""
