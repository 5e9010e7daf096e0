"""The fleet: deckies, the mutation queue, topologies.

Revision 0003. Types are spelt out here, so that a later change of the models leaves it alone.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
COUNTER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(name: str, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _json(name: str) -> sa.Column[Any]:
    return sa.Column(name, JSON, nullable=True)


def _moment(name: str, nullable: bool = True) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _real(name: str) -> sa.Column[float]:
    return sa.Column(name, sa.Float(53), nullable=True)


def _topology() -> None:
    op.create_table(
        "topology",
        *map(_text, ("topology_id", "status", "reason", "substrate", "mutate_interval")),
        _json("networks"),
        sa.Column("wanted", sa.Boolean(), nullable=False),
        _moment("updated_at", False),
        sa.PrimaryKeyConstraint("topology_id"),
    )


def _decky() -> None:
    op.create_table(
        "decky",
        *map(_text, ("name", "topology_id")),
        _text("archetype", True),
        *map(_json, ("pool", "desired", "observed", "pinned", "networks", "ports", "spec", "cause")),
        *map(_text, ("mutate_interval", "substrate", "address")),
        sa.Column("wanted", sa.Boolean(), nullable=False),
        sa.Column("pending", sa.Boolean(), nullable=False),
        *map(_text, ("state", "reason")),
        _moment("since", False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        *map(_moment, ("retry_at", "next_due", "last_mutated")),
        _text("site", True),
        _real("site_until"),
        _text("lease_owner", True),
        _real("lease_until"),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_index("ix_decky_topology", "decky", ["topology_id"], unique=False)
    op.create_index("ix_decky_due", "decky", ["next_due"], unique=False)
    op.create_index("ix_decky_pending", "decky", ["pending", "retry_at"], unique=False)


def _mutation() -> None:
    op.create_table(
        "mutation",
        sa.Column("seq", COUNTER, autoincrement=True, nullable=False),
        *map(_text, ("mutation_id", "kind")),
        _text("topology_id", True),
        _text("target"),
        _json("payload"),
        *map(_text, ("state", "trigger", "requested_by", "reason")),
        _json("outcome"),
        _text("lease_owner", True),
        _real("lease_until"),
        _moment("created_at", False),
        *map(_moment, ("started_at", "finished_at")),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("mutation_id", name="uq_mutation_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_mutation_state", "mutation", ["state", "seq"], unique=False)
    op.create_index("ix_mutation_target", "mutation", ["target", "seq"], unique=False)
    op.create_index("ix_mutation_topology", "mutation", ["topology_id", "seq"], unique=False)


def upgrade() -> None:
    """Creates the tables of this revision."""
    _topology()
    _decky()
    _mutation()


def downgrade() -> None:
    """Drops the tables of this revision."""
    for table in ("mutation", "decky", "topology"):
        op.drop_table(table)
