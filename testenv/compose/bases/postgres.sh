#!/bin/sh
# What the image postgres:17 does at its start, as far as docker-compose.yaml goes.
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
	echo "$POSTGRES_PASSWORD" >/tmp/password
	initdb -U "$POSTGRES_USER" --pwfile=/tmp/password -A scram-sha-256 -E UTF8 --no-locale --no-sync
	rm /tmp/password
	echo "CREATE DATABASE $POSTGRES_DB" | postgres --single postgres
	echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
fi
exec postgres -c listen_addresses='*'
