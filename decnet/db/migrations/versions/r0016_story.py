"""What a session amounts to has a row, and what can be new can be found by when it was first seen.

Revision 0016. Types are spelt out here, so that a later change of the models leaves it alone.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """Makes the tables of this revision; ``decnet-tui backfill`` fills them for what is stored."""
    op.create_table(
        "session_story",
        sa.Column("session_id", sa.Text(), primary_key=True),
        sa.Column("attacker_uuid", sa.Text(), nullable=True),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("rank", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.Column("playbook", sa.Text(), nullable=True),
        sa.Column("story", JSON, nullable=True),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.Float(53), nullable=False),
        sa.Column("lines", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_session_story_rank", "session_story", ["rank", "seen_at"])
    op.create_index("ix_session_story_playbook", "session_story", ["playbook", "seen_at"])
    op.create_index("ix_session_story_attacker", "session_story", ["attacker_uuid"])
    op.create_table(
        "session_thing",
        sa.Column("session_id", sa.Text(), primary_key=True),
        sa.Column("kind", sa.Text(), primary_key=True),
        sa.Column("value", sa.Text(), primary_key=True),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_session_thing_first", "session_thing", ["kind", "value", "seen_at"])
    op.create_index("ix_ttp_tag_first", "ttp_tag", ["technique_id", "sub_technique_id", "seen_at"])
    op.create_index("ix_credential_first", "credential", ["secret_hmac", "username", "first_seen"])
    op.create_index("ix_credential_session", "credential", ["session_id"])


def downgrade() -> None:
    """Drops them; a story is worked out again from what is stored."""
    op.drop_index("ix_credential_session", "credential")
    op.drop_index("ix_credential_first", "credential")
    op.drop_index("ix_ttp_tag_first", "ttp_tag")
    op.drop_table("session_thing")
    op.drop_table("session_story")
