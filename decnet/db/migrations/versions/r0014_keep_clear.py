"""The clear text of a captured secret, for operators who want it kept.

Revision 0014. Types are spelt out here, so that a later change of the models leaves it alone.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column of this revision; what is stored has no clear text."""
    op.add_column("credential", sa.Column("secret", sa.Text(), nullable=True))


def downgrade() -> None:
    """Drops it, and the clear texts with it."""
    op.drop_column("credential", "secret")
