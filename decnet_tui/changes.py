"""Sending a rule change and finding out what became of it: verified, not yet reported, or NOT APPLIED."""

from __future__ import annotations

import asyncio
import time

from decnet.logs import get_logger
from decnet_tui.feed import Feed
from decnet_tui.ruleform import Change
from decnet_tui.session import STORE_ERRORS, RuleAccess

NEWS_WAIT_S = 5.0
_POLL_S = 0.1
log = get_logger(__name__)


async def send(
    rules: RuleAccess, feed: Feed, change: Change, wait_s: float = NEWS_WAIT_S
) -> tuple[str, bool]:
    """Writes, reads back, waits for the news; the sentence for the operator, and whether all is well."""
    what = f"{change.rule_id} {change.state}"
    sent_at = time.time()
    try:
        await rules.set_rule_state(
            change.rule_id, change.state, change.confidence_max, change.expires_at, change.reason
        )
        rows = await rules.list_rules()
    except STORE_ERRORS as error:
        log.warning("rule change failed", rule_id=change.rule_id, error=str(error))
        return f"{what}: NOT APPLIED: {error}", False
    held = next((row for row in rows if row["rule_id"] == change.rule_id), None)
    if not change.agrees(held):
        now = held["state"] if held else "gone"
        return f"{what}: NOT APPLIED: the store reads back {now}", False
    if await _reported(feed, change, sent_at, wait_s):
        return f"{what}: verified (store and ttp.rule.state.{change.rule_id} agree)", True
    return f"{what}: saved, not yet reported by the engine", False


async def _reported(feed: Feed, change: Change, sent_at: float, wait_s: float) -> bool:
    deadline = time.monotonic() + wait_s
    while True:
        at, payload = feed.rule_news.get(change.rule_id, (0.0, {}))
        if at >= sent_at and payload.get("state") == change.state:
            return True
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(_POLL_S)
