"""The database: engines for SQLite and PostgreSQL, tables, repository, outbox, migrations."""
