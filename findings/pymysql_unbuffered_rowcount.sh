#!/usr/bin/env bash
# PyMySQL 1.2.4 against MariaDB.
#
# The unbuffered SSCursor gives 18446744073709551615 (2**64 - 1) as the number of rows, from execute() and as rowcount,
# before the rows are read, between them and when all have been.
#
# Expected by most: -1, which the DB-API (PEP 249) names for "not known" and which this cursor's own rowcount is before
# its first query; or the rows read so far. A sum or a histogram of row counts takes the number for true.
#
# Output seen:
#   before execute: -1
#   execute:        18446744073709551615
#   rowcount:       18446744073709551615
#   all 2 are read: 18446744073709551615
#
# Only reads. The server is told by MYSQL_HOST, MYSQL_USER (root) and MYSQL_PASSWORD (empty).
set -euo pipefail
: "${MYSQL_HOST:?names no MySQL or MariaDB server to ask}"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet PyMySQL==1.2.4
"$folder/venv/bin/python" - <<'PROGRAM'
import os

import pymysql
from pymysql.cursors import SSCursor

with pymysql.connect(
    host=os.environ["MYSQL_HOST"],
    user=os.environ.get("MYSQL_USER", "root"),
    password=os.environ.get("MYSQL_PASSWORD", ""),
) as connection:
    cursor = connection.cursor(SSCursor)
    seen = [cursor.rowcount, cursor.execute("SELECT 1 UNION SELECT 2"), cursor.rowcount]
    assert len(cursor.fetchall()) == 2
    seen.append(cursor.rowcount)
for what, number in zip(("before execute:", "execute:       ", "rowcount:      ", "all 2 are read:"), seen):
    print(what, number)
assert seen == [-1, 2**64 - 1, 2**64 - 1, 2**64 - 1], seen
PROGRAM
