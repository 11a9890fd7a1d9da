"""The way to the database."""

import psycopg2


def connect():
    """A connection that notices within seconds that the other end is gone."""
    patience = {"connect_timeout": 2, "keepalives_idle": 1, "keepalives_interval": 1, "keepalives_count": 3}
    database = psycopg2.connect(
        host="db", user="postgres", password="postgres", dbname="postgres", tcp_user_timeout=4000, **patience
    )
    database.autocommit = True
    return database
