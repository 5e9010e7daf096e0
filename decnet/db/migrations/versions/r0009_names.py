"""Names of sensors have a token each, and attackers whose address was kept unfolded join the folded one.

Revision 0009. Types are spelt out here, so that a later change of the models leaves it alone. What an attacker
such as ``fe80::1%eth0`` did becomes what ``fe80::1`` did; rows keep their ids. Its identity stays, merged into
the other one, and the merge is told like every other, so that attribution works both out anew. The way down
drops the names; what was joined stays so.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from decnet.addresses import fold
from decnet.bus.base import Event
from decnet.db.types import UtcTime
from decnet.ids import attacker_id, attacker_id_as_written, event_id, identity_id

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_PLAIN = (
    "session",
    "credential",
    "fingerprint",
    "ttp_tag",
    "behave_session",
    "observation",
    "session_feature",
)
"""Tables in which an attacker is no part of the key."""
_KEYED: dict[str, tuple[str, ...]] = {"attacker_intel": (), "email_body": ("simhash", "source_id")}
"""Tables in which it is, with the rest of the key."""
_ATTACKER = sa.table(
    "attacker",
    sa.column("attacker_uuid", sa.Text),
    sa.column("ip", sa.Text),
    sa.column("first_seen", UtcTime),
    sa.column("last_seen", UtcTime),
)


def upgrade() -> None:
    """Makes the table of names, gives deckies theirs, joins attackers, and has a place for look-ups of them."""
    op.create_table(
        "sensor_name",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("ts", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        sa.UniqueConstraint("token", name="uq_sensor_name_token"),
    )
    op.add_column("attacker", sa.Column("told_at", sa.DateTime(timezone=True), nullable=True))
    bound = op.get_bind()
    bound.execute(
        sa.text("INSERT INTO sensor_name (name, token, ts) SELECT name, name, CURRENT_TIMESTAMP FROM decky")
    )
    for uuid, ip in _unfolded(bound):
        _fold(bound, uuid, ip)


def downgrade() -> None:
    """Drops the names and what was told of attackers."""
    op.drop_column("attacker", "told_at")
    op.drop_table("sensor_name")


def _unfolded(bound: sa.Connection) -> list[tuple[str, str]]:
    """(attacker_uuid, address) of the attackers whose stored address is not the canonical one."""
    doubtful = sa.text(
        "SELECT attacker_uuid, ip FROM attacker WHERE ip LIKE '%:%' OR ip LIKE '0%' OR ip LIKE '%.0%'"
    )
    rows = bound.execute(doubtful).tuples().all()
    return sorted((uuid, ip) for uuid, ip in rows if fold(ip) not in (None, ip))


def _fold(bound: sa.Connection, uuid: str, ip: str) -> None:
    folded = fold(ip) or ip
    said = {"old": uuid, "new": attacker_id(folded), "ip": folded, "written": ip}
    bound.execute(sa.text("UPDATE session SET attacker_ip = :ip WHERE attacker_ip = :written"), said)
    if uuid != attacker_id_as_written(ip):  # a producer's own id: the address alone was written otherwise
        bound.execute(sa.text("UPDATE attacker SET ip = :ip WHERE attacker_uuid = :old"), said)
        return
    _join(bound, said)
    _merge(bound, said)
    _mark_due(bound, said)


def _join(bound: sa.Connection, said: dict[str, str]) -> None:
    """Everything that the old attacker did, under the new one."""
    for statement in (
        "INSERT INTO attacker (attacker_uuid, ip, first_seen, last_seen, ignored_by)"
        " SELECT :new, :ip, first_seen, last_seen, ignored_by FROM attacker WHERE attacker_uuid = :old"
        " ON CONFLICT (attacker_uuid) DO NOTHING",
        "UPDATE attacker SET"
        " first_seen = (SELECT min(a.first_seen) FROM attacker a WHERE a.attacker_uuid IN (:old, :new)),"
        " last_seen = (SELECT max(a.last_seen) FROM attacker a WHERE a.attacker_uuid IN (:old, :new))"
        " WHERE attacker_uuid = :new",
        "DELETE FROM attacker WHERE attacker_uuid = :old",
        "DELETE FROM attacker_intel WHERE attacker_uuid = :new AND version <"
        " (SELECT i.version FROM attacker_intel i WHERE i.attacker_uuid = :old)",
    ):
        _run(bound, statement, said)
    for table in _PLAIN:
        _move(bound, table, None, said)
    for table, key in _KEYED.items():
        _move(bound, table, key, said)


def _move(bound: sa.Connection, name: str, key: tuple[str, ...] | None, said: dict[str, str]) -> None:
    """Moves rows; of those whose ``key`` the new attacker has already, the old one's are the same and go."""
    table = sa.table(name, sa.column("attacker_uuid"), *map(sa.column, key or ()))
    other = table.alias()
    mine = table.c.attacker_uuid == said["old"]
    moved = sa.update(table).where(mine).values(attacker_uuid=said["new"])
    if key is not None:
        same = [other.c[part] == table.c[part] for part in key]
        moved = moved.where(~sa.exists().where(other.c.attacker_uuid == said["new"], *same))
    bound.execute(moved)
    bound.execute(sa.delete(table).where(mine))


def _run(bound: sa.Connection, statement: str, said: dict[str, Any]) -> None:
    wanted = {name: value for name, value in said.items() if f":{name}" in statement}
    bound.execute(sa.text(statement), wanted)


def _merge(bound: sa.Connection, said: dict[str, str]) -> None:
    """The old attacker's identity loses to the new one's, for good and as news."""
    old, new = identity_id(said["old"]), identity_id(said["new"])
    who = {"loser": old, "winner": new, "attacker": said["new"], "former": said["old"]}
    for statement in (
        "INSERT INTO identity (identity_uuid, attacker_uuid) VALUES (:winner, :attacker)"
        " ON CONFLICT (identity_uuid) DO UPDATE SET attacker_uuid = excluded.attacker_uuid",
        "INSERT INTO identity (identity_uuid, attacker_uuid) VALUES (:loser, :former)"
        " ON CONFLICT (identity_uuid) DO UPDATE SET attacker_uuid = excluded.attacker_uuid",
        "INSERT INTO identity_merge (loser_uuid, winner_uuid) VALUES (:loser, :winner) ON CONFLICT DO NOTHING",
    ):
        _run(bound, statement, who)
    _point(bound, old)
    payload = {"winner_uuid": new, "loser_uuid": old, "reasons": ["one address, written in two ways"]}
    news = Event("identity.merged", payload, "merged", event_id("r0014", f"{old}|{new}"))
    row = {"topic": news.topic, "body": news.to_bytes()}
    bound.execute(sa.text("INSERT INTO outbox (topic, body) VALUES (:topic, :body)"), row)


def _point(bound: sa.Connection, identity: str) -> None:
    """All that hang together with an identity point at the one that never lost, the least of several."""
    edges: set[tuple[str, str]] = set()
    seen, todo = set[str](), {identity}
    near = sa.text(
        "SELECT loser_uuid, winner_uuid FROM identity_merge WHERE loser_uuid = :one OR winner_uuid = :one"
    )
    while todo:
        one = todo.pop()
        seen.add(one)
        edges |= {(loser, winner) for loser, winner in bound.execute(near, {"one": one})}
        todo = {member for edge in edges for member in edge} - seen
    canonical = min(seen - {loser for loser, _ in edges} or seen)
    for member in seen:
        target = {"member": member, "target": None if member == canonical else canonical}
        bound.execute(
            sa.text("UPDATE identity SET merged_into = :target WHERE identity_uuid = :member"), target
        )


def _mark_due(bound: sa.Connection, said: dict[str, str]) -> None:
    """Scores and counts of the new attacker are worked out from all that is its own now."""
    _run(bound, "DELETE FROM producer_due WHERE attacker_uuid = :old", said)
    times = sa.select(_ATTACKER.c.first_seen, _ATTACKER.c.last_seen)
    row = bound.execute(times.where(_ATTACKER.c.attacker_uuid == said["new"])).first()
    if row is None or row[0] is None or row[1] is None:
        return
    due = {"new": said["new"], "since": row[0].timestamp(), "until": row[1].timestamp()}
    for consumer in ("recorder", "ttp"):
        bound.execute(
            sa.text(
                "INSERT INTO producer_due (consumer, attacker_uuid, seq, since, until)"
                " VALUES (:consumer, :new, 1, :since, :until) ON CONFLICT (consumer, attacker_uuid)"
                " DO UPDATE SET seq = producer_due.seq + 1, since = excluded.since, until = excluded.until"
            ),
            {**due, "consumer": consumer},
        )
