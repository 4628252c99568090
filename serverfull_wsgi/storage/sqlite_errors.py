"""Kinds of SQLite errors, by result code: https://sqlite.org/rescode.html."""

from __future__ import annotations

import sqlite3

BUSY, LOCKED, CORRUPT, FULL, NOT_A_DATABASE = 5, 6, 11, 13, 26  # `sqlite3` has names for them from Python 3.11

_MESSAGES = {  # Python 3.10 has no `sqlite_errorcode`
    BUSY: "database is locked",
    LOCKED: "database table is locked",
    CORRUPT: "malformed",
    FULL: "database or disk is full",
    NOT_A_DATABASE: "not a database",
}


def is_busy(error: BaseException) -> bool:
    """Return whether another connection holds SQLite's lock."""
    return _has_code(error, BUSY, LOCKED)


def is_disk_full(error: BaseException) -> bool:
    """Return whether the disk, or the file, has no space left."""
    return _has_code(error, FULL)


def is_damage(error: BaseException) -> bool:
    """Return whether the file is damaged or is not an SQLite database."""
    return _has_code(error, CORRUPT, NOT_A_DATABASE)


def _has_code(error: BaseException, *codes: int) -> bool:
    if not isinstance(error, sqlite3.Error):
        return False
    extended: int | None = getattr(error, "sqlite_errorcode", None)
    if extended is not None:
        return extended & 0xFF in codes  # the low byte of an extended code is the primary code
    return _has_message(error, codes)


def _has_message(error: sqlite3.Error, codes: tuple[int, ...]) -> bool:
    return any(_MESSAGES[code] in str(error) for code in codes)
