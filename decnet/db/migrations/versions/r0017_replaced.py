"""Tags that another one knows better, and the parts of sessions that are judged together.

Revision 0017. Types are spelt out here, so that a later change of the models leaves it alone.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """Adds the column and the table of this revision; nothing that is stored is replaced yet."""
    op.add_column("ttp_tag", sa.Column("replaced_by", sa.Text(), nullable=True))
    op.create_table(
        "ttp_part",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("generation", sa.Text(), nullable=False),
        sa.Column("part", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("parts", sa.BigInteger(), nullable=False),
        sa.Column("body", JSON, nullable=True),
        sa.Column("keep_until", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("session_id", "generation", "part"),
    )
    op.create_index("ix_ttp_part_keep", "ttp_part", ["keep_until"])


def downgrade() -> None:
    """Drops them: what was replaced shows again."""
    op.drop_index("ix_ttp_part_keep", table_name="ttp_part")
    op.drop_table("ttp_part")
    op.drop_column("ttp_tag", "replaced_by")
