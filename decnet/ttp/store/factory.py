"""Chooses the rule store by setting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from decnet.bus.base import BaseBus
from decnet.config import Settings, load_settings
from decnet.ttp.store.base import RuleStore
from decnet.ttp.store.impl.database import DatabaseRuleStore
from decnet.ttp.store.impl.filesystem import FilesystemRuleStore
from decnet.ttp.store.impl.states import FILE_NAME

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository


def get_rule_store(
    settings: Settings | None = None, *, repo: BaseRepository | None = None, bus: BaseBus | None = None
) -> RuleStore:
    """The store that the settings name. TypeError when the database one gets no repository."""
    settings = settings or load_settings()
    kind = settings.effective_rule_store_type
    fs = FilesystemRuleStore(
        settings.rules,
        bus=bus if kind == "filesystem" else None,
        debounce_s=settings.ttp.reload_debounce_s,
        rescan_s=settings.ttp.rescan_s,
        max_bytes=settings.ttp.max_rule_file_bytes,
        states=settings.data_dir / FILE_NAME if kind == "filesystem" else None,
    )
    if kind == "filesystem":
        return fs
    return DatabaseRuleStore(
        repo, fs, bus=bus, tail_s=settings.runtime.tail_db_s, lease_s=settings.runtime.lease_s
    )
