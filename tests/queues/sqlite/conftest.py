"""A store with a test's clock."""

from contextlib import closing

import pytest

from tests.support.event_store import ClockedStore, Time


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def store(tmp_path, time):
    with closing(ClockedStore(tmp_path / "events.sqlite3", time)) as store:
        yield store
