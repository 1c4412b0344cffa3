"""How Alembic changes the tables of keys and spend: over the connection that it is given."""

from __future__ import annotations

from alembic import context

from ai21_chains.serving._keys_database import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
)

with context.begin_transaction():
    context.run_migrations()
