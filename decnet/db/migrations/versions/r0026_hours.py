"""How much there was in each hour: events, and what counters of refused lines stood at.

Revision 0026. Types are spelt out here, so that a later change of the models leaves it alone.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the table; counters that stand somewhere already begin there, before any hour that is shown."""
    hours = op.create_table(
        "hour_count",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("hour", sa.BigInteger(), primary_key=True),
        sa.Column("count", sa.BigInteger(), nullable=False),
    )
    beats = sa.table("worker_heartbeat", sa.column("worker", sa.Text()), sa.column("payload", sa.JSON()))
    found = op.get_bind().execute(sa.select(beats.c.payload).where(beats.c.worker == "sensors")).scalars()
    rows = {name: count for payload in found for name, count in _levels(payload)}
    if rows:
        op.bulk_insert(hours, [{"name": name, "hour": 0, "count": count} for name, count in rows.items()])


def _levels(payload: object) -> list[tuple[str, int]]:
    sensors = payload.get("sensors") if isinstance(payload, dict) else None
    rows = [row for row in sensors if isinstance(row, dict)] if isinstance(sensors, list) else []
    return [
        (f"refused|{row.get('kind')}|{row.get('path')}", int(row["refused"]))
        for row in rows
        if isinstance(row.get("refused"), int) and row["refused"] > 0
    ]


def downgrade() -> None:
    """Drops it."""
    op.drop_table("hour_count")
