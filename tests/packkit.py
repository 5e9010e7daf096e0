"""The shipped rules, loaded once for all tests of a process."""

from __future__ import annotations

from functools import cache

from decnet.home import packaged_rules_dir
from decnet.ttp.loader import LoadResult, load_dir
from decnet.ttp.matcher import RuleIndex


@cache
def pack() -> LoadResult:
    """Rules and errors of the shipped directory."""
    return load_dir(packaged_rules_dir())


@cache
def index() -> RuleIndex:
    """The index over all shipped rules."""
    return RuleIndex(pack().rules)
