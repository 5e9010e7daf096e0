"""What linking knows has rows, and a merge that others announced can be taken back.

Revision 0018. Types are spelt out here, so that a later change of the models leaves it alone. Sessions that are
stored already are due: the engine links them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
TABLES = ("link_due", "link_gone", "link_address", "link_term", "link_value", "link_group", "link_session",
          "campaign_merge", "identity_link", "link_said", "link_state", "attribution_past")  # fmt: skip


def upgrade() -> None:
    """Makes the tables of this revision; what is stored is linked by the engine."""
    _evidence()
    _belonging()
    _words()
    _past()
    op.add_column("identity_merge", sa.Column("seq", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("identity_merge", sa.Column("live", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.execute(
        "INSERT INTO link_due (session_id, seq) SELECT session_id, 1 FROM session"
        " WHERE ended_at IS NOT NULL AND attacker_uuid IS NOT NULL"
    )


def _evidence() -> None:
    op.create_table(
        "link_due",
        sa.Column("session_id", sa.Text(), primary_key=True),
        sa.Column("seq", sa.BigInteger(), nullable=False),
    )
    op.create_table("link_gone", sa.Column("attacker_uuid", sa.Text(), primary_key=True))
    op.create_table(
        "link_address",
        sa.Column("attacker_uuid", sa.Text(), primary_key=True),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("identity_uuid", sa.Text(), nullable=False),
        sa.Column("linked_into", sa.Text(), nullable=True),
        sa.Column("founded_at", sa.Float(53), nullable=False),
        sa.Column("logins", sa.Text(), nullable=False),
    )
    op.create_index("ix_link_address_identity", "link_address", ["identity_uuid"])
    op.create_index("ix_link_address_into", "link_address", ["linked_into"])
    op.create_table(
        "link_term",
        sa.Column("term_id", sa.Text(), primary_key=True),
        sa.Column("family", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("campaign_root", sa.Text(), nullable=True),
        sa.Column("kit_root", sa.Text(), nullable=True),
        sa.Column("marks", JSON, nullable=True),
    )
    op.create_index("ix_link_term_campaign", "link_term", ["campaign_root"])
    op.create_index("ix_link_term_kit", "link_term", ["kit_root"])
    op.create_index("ix_link_term_value", "link_term", ["family", "value"])
    op.create_table(
        "link_value",
        sa.Column("attacker_uuid", sa.Text(), primary_key=True),
        sa.Column("term_id", sa.Text(), primary_key=True),
        sa.Column("first_at", sa.Float(53), nullable=True),
        sa.Column("kept", sa.Boolean(), nullable=False),
    )
    op.create_index("ix_link_value_term", "link_value", ["term_id"])


def _belonging() -> None:
    op.create_table(
        "link_group",
        sa.Column("kind", sa.Text(), primary_key=True),
        sa.Column("root", sa.Text(), primary_key=True),
        sa.Column("founder", sa.Text(), nullable=False),
        sa.Column("founded_at", sa.Float(53), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("campaign_uuid", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("addresses", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_link_group_campaign", "link_group", ["campaign_uuid"])
    op.create_table(
        "link_session",
        sa.Column("session_id", sa.Text(), primary_key=True),
        sa.Column("attacker_uuid", sa.Text(), nullable=False),
        sa.Column("term_id", sa.Text(), nullable=False),
    )
    op.create_index("ix_link_session_term", "link_session", ["term_id"])
    op.create_table(
        "campaign_merge",
        sa.Column("loser_uuid", sa.Text(), primary_key=True),
        sa.Column("winner_uuid", sa.Text(), nullable=False),
    )
    op.create_table(
        "identity_link",
        sa.Column("identity_uuid", sa.Text(), primary_key=True),
        sa.Column("confidence", sa.Float(53), nullable=False),
        sa.Column("addresses", sa.BigInteger(), nullable=False),
        sa.Column("reasons", JSON, nullable=True),
        sa.Column("against", JSON, nullable=True),
    )


def _words() -> None:
    op.create_table(
        "link_said",
        sa.Column("one", sa.Text(), primary_key=True),
        sa.Column("other", sa.Text(), primary_key=True),
        sa.Column("same", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("said_by", sa.Text(), nullable=False),
        sa.Column("said_at", sa.DateTime(timezone=True), nullable=True),
    )
    op.create_table(
        "link_state",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("relink", sa.BigInteger(), nullable=False),
        sa.Column("relinked", sa.BigInteger(), nullable=False),
    )


def _past() -> None:
    op.create_table(
        "attribution_past",
        sa.Column("identity_uuid", sa.Text(), primary_key=True),
        sa.Column("primitive", sa.Text(), primary_key=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("last_change_ts", sa.Float(53), nullable=True),
        sa.Column("seq", sa.BigInteger(), nullable=False),
    )


def downgrade() -> None:
    """Drops them; identities that only links made one are their own again, and a merge taken back is no row."""
    op.execute("DELETE FROM identity_merge WHERE NOT live")
    op.execute(
        "UPDATE identity SET merged_into = NULL"
        " WHERE identity_uuid IN (SELECT identity_uuid FROM link_address WHERE linked_into IS NOT NULL)"
        " AND identity_uuid NOT IN (SELECT loser_uuid FROM identity_merge)"
        " AND identity_uuid NOT IN (SELECT winner_uuid FROM identity_merge)"
    )
    op.drop_column("identity_merge", "live")
    op.drop_column("identity_merge", "seq")
    for table in reversed(TABLES):
        op.drop_table(table)
