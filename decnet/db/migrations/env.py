"""Alembic's entry: runs the revisions on the connection that :mod:`decnet.db.migrate` hands over."""

from __future__ import annotations

from alembic import context

connection = context.config.attributes.get("connection")
if connection is None:
    raise RuntimeError("run migrations through decnet.db.migrate, not through the alembic command")

# SQLite can change its schema inside a transaction, when nobody else begins one behind its back.
context.configure(connection=connection, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
