"""How Alembic runs the migrations: on an open engine, all that are missing at once."""

from alembic import context

from aios.database import metadata

engine = context.config.attributes["engine"]
with engine.connect() as connection:
    sqlite = engine.dialect.name == "sqlite"
    if sqlite:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    context.configure(connection=connection, target_metadata=metadata, transactional_ddl=not sqlite)
    with context.begin_transaction():
        context.run_migrations()
    connection.exec_driver_sql("COMMIT") if sqlite else connection.commit()
