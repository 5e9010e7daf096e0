"""Canary tokens, and who set them off.

Revision 0022. Types are spelt out here, so that a later change of the models leaves it alone.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
WHEN = sa.DateTime(timezone=True)
NUMBER = sa.BigInteger()


def upgrade() -> None:
    """Adds the two tables."""
    op.create_table(
        "canary_token",
        sa.Column("token_id", sa.Text(), primary_key=True),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("decky_id", sa.Text(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=True) for name in ("path", "memo", "watched")),
        sa.Column("minted_at", WHEN, nullable=False),
        *(sa.Column(f"{name}_at", WHEN, nullable=True) for name in ("placed", "revoked", "first_trip", "last_trip")),
        sa.Column("trips", NUMBER, nullable=False),
        sa.Column("window_at", WHEN, nullable=True),
        sa.Column("window_trips", NUMBER, nullable=False),
    )  # fmt: skip
    op.create_index("ix_canary_token_slug", "canary_token", ["slug"], unique=True)
    op.create_index("ix_canary_token_watched", "canary_token", ["watched"])
    op.create_table(
        "canary_trigger",
        sa.Column("trigger_id", sa.Text(), primary_key=True),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("token_id", "peer", "peer_kind", "via")),
        sa.Column("first_at", WHEN, nullable=False),
        sa.Column("last_at", WHEN, nullable=False),
        sa.Column("hits", NUMBER, nullable=False),
        sa.Column("echo", sa.Boolean(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=True)
          for name in ("user_agent", "request_path", "dns_qname", "label", "session_id")),
        sa.Column("report", JSON, nullable=True),
    )  # fmt: skip
    op.create_index("ix_canary_trigger_peer", "canary_trigger", ["token_id", "peer", "first_at"])
    op.create_index("ix_canary_trigger_label", "canary_trigger", ["token_id", "label"])
    op.create_index("ix_canary_trigger_session", "canary_trigger", ["session_id"])
    op.create_index("ix_canary_trigger_last", "canary_trigger", ["last_at"])


def downgrade() -> None:
    """Drops them."""
    op.drop_table("canary_trigger")
    op.drop_table("canary_token")
