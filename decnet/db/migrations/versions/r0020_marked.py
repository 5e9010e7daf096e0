"""Indices for lists: of marked sessions and attackers alone, which are asked for first; and of tags those that are used, one
with all that is counted.

Nothing has been ordered by the time of tagging since lists go by when the attacker did it.

Revision 0020. Types are spelt out here, so that a later change of the models leaves it alone.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None
MARKED = sa.text("ignored_by IS NOT NULL")
STANDING = sa.text("superseded_by IS NULL AND replaced_by IS NULL")
COUNTED = [
    "technique_id",
    "sub_technique_id",
    "tactic",
    "rule_id",
    "attacker_uuid",
    "identity_uuid",
    "seen_at",
]
NARROWER = {
    "ix_ttp_tag_attacker": "attacker_uuid",
    "ix_ttp_tag_identity": "identity_uuid",
    "ix_ttp_tag_rule": "rule_id",
}


def upgrade() -> None:
    """Adds the indices; they begin with what is marked now. That of techniques is the beginning of another one."""
    op.drop_index("ix_ttp_tag_technique", table_name="ttp_tag")
    for name, column in NARROWER.items():
        op.drop_index(name, table_name="ttp_tag")
        op.create_index(name, "ttp_tag", [column])
    op.create_index(
        "ix_ttp_tag_standing", "ttp_tag", COUNTED, sqlite_where=STANDING, postgresql_where=STANDING
    )
    op.create_index(
        "ix_attacker_marked", "attacker", ["attacker_uuid"], sqlite_where=MARKED, postgresql_where=MARKED
    )
    op.create_index(
        "ix_session_marked", "session", ["session_id"], sqlite_where=MARKED, postgresql_where=MARKED
    )


def downgrade() -> None:
    """Drops them; those of tags are what they were."""
    for name, column in NARROWER.items():
        op.drop_index(name, table_name="ttp_tag")
        op.create_index(name, "ttp_tag", [column, "created_at"])
    op.create_index("ix_ttp_tag_technique", "ttp_tag", ["technique_id", "created_at"])
    op.drop_index("ix_session_marked", table_name="session")
    op.drop_index("ix_attacker_marked", table_name="attacker")
    op.drop_index("ix_ttp_tag_standing", table_name="ttp_tag")
