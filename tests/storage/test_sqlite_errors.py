"""Real errors of SQLite, each recognised as its kind, with and without the error code that Python 3.10 lacks."""

import sqlite3
import sys
from contextlib import closing

import pytest

from serverfull_wsgi.storage.sqlite_errors import is_busy, is_damage, is_disk_full

needs_codes = pytest.mark.skipif(sys.version_info < (3, 11), reason="needs sqlite_errorcode")


def raise_busy(path):
    with closing(sqlite3.connect(path)) as holder, closing(sqlite3.connect(path, timeout=0)) as other:
        holder.execute("BEGIN IMMEDIATE")
        other.execute("BEGIN IMMEDIATE")


def raise_disk_full(path):
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE t (x)")
        db.execute("PRAGMA max_page_count=2")
        db.execute("INSERT INTO t VALUES (zeroblob(100000))")


def raise_not_a_database(path):
    path.write_bytes(b"This is a text and not a database. " * 100)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version")


def raise_corrupt(path):
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE t (x)")
        db.commit()
    data = bytearray(path.read_bytes())
    data[4096:4200] = bytes(104)  # the header of the table's first page
    path.write_bytes(data)
    with closing(sqlite3.connect(path)) as db:
        db.execute("SELECT * FROM t")


def raise_syntax_error(path):
    with closing(sqlite3.connect(path)) as db:
        db.execute("SELECT 'disk is full, the database is locked and malformed")


@pytest.mark.parametrize(
    ("cause", "kinds"),
    [
        (raise_busy, [is_busy]),
        (raise_disk_full, [is_disk_full]),
        (raise_not_a_database, [is_damage]),
        (raise_corrupt, [is_damage]),
        pytest.param(raise_syntax_error, [], marks=needs_codes),
    ],
)
def test_an_error_has_one_kind(cause, kinds, tmp_path):
    with pytest.raises(sqlite3.Error) as caught:
        cause(tmp_path / "file")
    assert [kind for kind in (is_busy, is_disk_full, is_damage) if kind(caught.value)] == kinds


@pytest.mark.parametrize("cause", [raise_busy, raise_disk_full, raise_not_a_database, raise_corrupt])
def test_without_an_error_code_the_message_decides(cause, tmp_path):
    with pytest.raises(sqlite3.Error) as caught:
        cause(tmp_path / "file")
    error = caught.value
    as_in_python_3_10 = type(error)(*error.args)
    assert [kind(as_in_python_3_10) for kind in (is_busy, is_disk_full, is_damage)] == [
        kind(error) for kind in (is_busy, is_disk_full, is_damage)
    ]


def test_an_error_that_is_not_sqlites_has_no_kind():
    assert not is_busy(OSError("database is locked"))
    assert not is_disk_full(OSError("database or disk is full"))
