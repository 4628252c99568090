"""Events and records in the store: accepts, claims, leases, ends, redrives and retention."""

import pytest

from serverfull_wsgi import EventConfig, Invocation
from serverfull_wsgi.events.retry_policy import Counts
from serverfull_wsgi.events.runner import Final
from serverfull_wsgi.queues.sqlite import admin, statements
from serverfull_wsgi.storage.group_commit import StoreError
from tests.support.event_store import LEASE, NAME, SUCCEEDED, accept_and_run, claim, end, put, states


def test_events_are_claimed_in_the_order_of_their_accepts(store, time):
    for id in "abc":
        put(store, id)
        time.now += 1
    assert [claim(store).request_id for _ in range(3)] == ["a", "b", "c"]
    assert claim(store) is None


def test_a_claim_uses_the_index(store):
    plan = store.read(
        lambda db: db.execute(
            "EXPLAIN QUERY PLAN SELECT id FROM event WHERE due <= ? ORDER BY due LIMIT 1", (1,)
        ).fetchall()
    )
    assert [row[3] for row in plan] == ["SEARCH event USING COVERING INDEX event_due (due<?)"]


def test_an_event_that_runs_at_once_equals_the_event_that_a_claim_returns(store, time):
    event = accept_and_run(store, "a")
    assert states(store) == {"a": "running"}
    assert claim(store) is None
    time.now += LEASE + 1
    assert claim(store) == event._replace(lost=1, runs=2)


def test_an_event_that_runs_at_once_has_the_fence_of_a_claim(store, time):
    late = accept_and_run(store, "a")
    time.now += LEASE + 1
    again = claim(store)
    assert [end(store, late), end(store, again)] == [False, True]


def test_a_new_event_waits_while_an_older_one_is_due(store):
    put(store, "a")
    assert accept_and_run(store, "b") is None
    assert [claim(store).request_id for _ in "ab"] == ["a", "b"]


def test_a_process_that_does_not_lead_runs_no_event_at_once(store):
    assert accept_and_run(store, "a", is_leading=False) is None
    assert states(store) == {"a": "queued"}


def test_a_repeated_accept_does_not_run_again(store):
    assert accept_and_run(store, "a", dedupe="key") is not None
    assert accept_and_run(store, "b", dedupe="key") is None
    assert accept_and_run(store, "a") is None
    assert states(store) == {"a": "running"}


def test_a_check_for_due_events_uses_the_index(store):
    query = "EXPLAIN QUERY PLAN SELECT EXISTS (SELECT 1 FROM event WHERE due <= ?)"
    plan = store.read(lambda db: db.execute(query, (1,)).fetchall())
    assert "SEARCH event USING COVERING INDEX event_due (due<?)" in [row[3] for row in plan]


def test_a_late_result_is_discarded_after_another_worker_claimed_the_event(store, time):
    put(store, "a")
    late = claim(store, "one")
    time.now += LEASE + 1
    again = claim(store, "two")
    assert (again.request_id, again.lost, again.runs) == ("a", 1, 2)
    assert not end(store, late)
    assert end(store, again)
    assert not end(store, again)


def test_a_lease_that_is_renewed_does_not_run_out(store, time):
    put(store, "a")
    event = claim(store, "one")
    time.now += LEASE - 1
    store.write(lambda db: statements.renew(db, "event", [event.id], "one", store.now() + LEASE))
    time.now += LEASE - 1
    assert claim(store, "two") is None


def test_the_leases_of_a_dead_process_end_at_once_and_its_late_results_are_discarded(store):
    put(store, "a")
    put(store, "b")
    late, other = claim(store, "dead"), claim(store, "alive")
    assert store.write(lambda db: statements.expire(db, "dead", store.now())) == 1
    again = claim(store, "alive")
    assert (again.request_id, again.lost) == ("a", 1)
    assert claim(store, "alive") is None
    assert not end(store, late)
    assert end(store, again)
    assert end(store, other)


def test_events_that_lost_two_leases_run_one_at_a_time_and_do_not_delay_others(store):
    for id in "abc":
        put(store, id)
    for _ in range(2):
        assert [claim(store, "dead").request_id for _ in range(2)] == ["a", "b"]
        store.write(lambda db: statements.expire(db, "dead", store.now()))
    suspect = claim(store, "alive")
    assert (suspect.request_id, suspect.lost) == ("a", 2)
    assert claim(store, "alive").request_id == "c"
    assert claim(store, "alive") is None
    end(store, suspect)
    assert claim(store, "alive").request_id == "b"


def test_a_released_lease_does_not_count_as_lost(store):
    put(store, "a")
    event = claim(store)
    store.write(lambda db: statements.release(db, [event.id], "one", store.now()))
    again = claim(store, "two")
    assert (again.request_id, again.lost, again.attempts) == ("a", 0, 0)
    assert not end(store, event)


def test_a_repeated_accept_is_recognised_for_ten_minutes(store, time):
    assert put(store, "a", dedupe="key") == "a"
    time.now += 599
    assert put(store, "b", dedupe="key") == "a"
    assert put(store, "c", dedupe="another") == "c"
    time.now += 2
    assert put(store, "d", dedupe="key") == "d"
    assert sorted(states(store)) == ["a", "c", "d"]


def test_an_end_and_its_records_are_one_transaction(store):
    put(store, "a")
    event = claim(store)
    final = Final("failed", "RetriesExhausted", Counts(3), "no", b"{}", [("on_failure", "next", "{}", None)])
    with pytest.raises(StoreError):  # the body of a record may not be NULL
        end(store, event, final)
    assert states(store) == {"a": "running"}
    assert end(store, event, final._replace(records=[("on_failure", "next", "{}", b"record")]))
    record = store.write(lambda db: statements.claim_record(db, "one", store.now(), LEASE))
    assert (record.target, record.body, record.request_id) == ("next", b"record", "a")


def test_an_event_past_its_retention_is_removed_unless_a_record_waits(store, time):
    for id, records in (("kept", [("on_success", "next", "{}", b"{}")]), ("removed", [])):
        put(store, id)
        end(store, claim(store), Final("succeeded", "Success", Counts(1), records=records))
    put(store, "waiting")
    time.now += 101
    assert remove_expired(store) == 1
    assert sorted(states(store)) == ["kept", "waiting"]


def remove_expired(store, retention=100.0):
    """Remove all events past their retention, and return the number of pages."""
    position, pages = statements.Position(), 0
    while position is not None:
        position = store.write(lambda db, after=position: statements.remove_expired(db, after, store.now(), retention))
        pages += 1
    return pages


def ended(store, count, payload=b"{}", final=SUCCEEDED, name=""):
    for number in range(count):
        put(store, f"{name}{number}", payload)
        end(store, claim(store), final)


def test_a_page_of_retention_has_few_events_if_they_are_large(store, time):
    ended(store, 20, b'"' + b"x" * 1_000_000 + b'"')
    time.now += 101
    assert remove_expired(store) == 3
    assert states(store) == {}


def test_retention_goes_on_behind_events_that_are_kept(store, time, monkeypatch):
    monkeypatch.setattr(statements, "PAGE", 3)
    records = [("on_success", "next", "{}", b"{}")]
    ended(store, 4, final=Final("succeeded", "Success", Counts(1), records=records), name="kept-")
    ended(store, 4, name="removed-")
    time.now += 101
    assert remove_expired(store) == 3
    assert sorted(states(store)) == [f"kept-{number}" for number in range(4)]


def test_expired_keys_of_accepts_are_removed_until_none_is_left(store, time, monkeypatch):
    monkeypatch.setattr(statements, "KEY_BATCH", 3)
    for number in range(7):
        put(store, str(number), dedupe=str(number))
    time.now += statements.DEDUPE + 1
    put(store, "new", dedupe="new")
    assert [store.write(lambda db: statements.remove_expired_keys(db, store.now())) for _ in range(3)] == [
        True, True, False
    ]  # fmt: skip
    assert store.read(lambda db: db.execute("SELECT key FROM accepted").fetchall()) == [("new",)]


def test_a_long_result_is_cut_and_marked(store):
    for size in (statements.KEPT_RESULT - 2, statements.KEPT_RESULT - 1, 6_000_000):
        put(store, str(size))
        end(store, claim(store), Final("succeeded", "Success", Counts(1), result=b'"' + b"x" * size + b'"'))
    show = [result(store, str(size)) for size in (262_142, 262_143, 6_000_000)]
    assert show[0] == '"' + "x" * 262_142 + '"'
    assert show[1] == '"' + "x" * 262_143 + "… (cut: the result has 262,145 bytes, of which 262,144 are kept)"
    assert show[2] == '"' + "x" * 262_143 + "… (cut: the result has 6,000,002 bytes, of which 262,144 are kept)"


def result(store, id):
    return store.read(lambda db: admin.event(db, id, 0))["result"]


@pytest.mark.parametrize("character", ["é", "€", "😀"])
def test_a_long_result_is_cut_between_characters(character):
    cut = statements.kept_result(b"x" + character.encode() * 300_000).decode()
    assert set(cut.partition("…")[0]) == {"x", character}


def test_an_event_is_refused_if_the_file_would_exceed_its_limit(store, time):
    limit = store.read(statements.used_bytes) + 100_000

    def accept(id, size=40_000, dedupe=""):
        invocation = Invocation(NAME, b"x" * size, id)
        row = (invocation, EventConfig(), dedupe, store.now(), 0, limit)
        return store.write(lambda db: statements.insert(db, *row)).request_id

    assert [accept("a", dedupe="key"), accept("b")] == ["a", "b"]
    with pytest.raises(StoreError, match=r"and may have [\d,]+ \(SERVERFULL_EVENTS_MAX_BYTES\)"):
        accept("c")
    assert accept("a again", dedupe="key") == "a"
    assert accept("small", 10) == "small"
    end(store, claim(store))  # results are written nevertheless
    end(store, claim(store))
    time.now += 101
    remove_expired(store)
    assert accept("d") == "d"


def indexes(store, query, *values):
    plan = store.read(lambda db: db.execute(f"EXPLAIN QUERY PLAN {query}", values).fetchall())
    return [row[3] for row in plan]


def test_pages_of_a_state_use_the_index(store):
    queries = []
    store.write(lambda db: db.set_trace_callback(queries.append))
    store.write(lambda db: admin.events(db, "failed", 50, 100))
    store.write(lambda db: admin.redrive_failed(db, 5, 100, 0))
    store.write(lambda db: admin.purge(db, 5, 100, "succeeded"))
    store.write(lambda db: statements.remove_expired(db, statements.Position(), 0, 0))
    store.write(lambda db: statements.expire(db, "a process", 0))
    store.write(lambda db: db.set_trace_callback(None))
    plans = [step for query in queries if query.startswith(("SELECT", "UPDATE")) for step in indexes(store, query)]
    assert plans == [
        "SEARCH event USING INDEX event_state (state=? AND rowid<?)",
        "SEARCH event USING INDEX event_state (state=? AND rowid>? AND rowid<?)",
        "SEARCH event USING INDEX event_state (state=? AND rowid>? AND rowid<?)",
        "SEARCH event USING INDEX event_ended (ended>? AND ended<?)",
        "SEARCH event USING INDEX event_state (state=?)",
        "SEARCH record USING INDEX record_leased (owner=?)",
    ]


def test_the_file_stops_growing_when_events_are_removed(store, time):
    sizes = []
    for _ in range(6):
        for number in range(20):
            put(store, f"{time.now}-{number}", b'"' + b"x" * 50_000 + b'"')
            end(store, claim(store))
        time.now += 101
        remove_expired(store)
        store.write(lambda db: db.execute("PRAGMA incremental_vacuum(1000)").fetchall())
        sizes.append(store.path.stat().st_size)
    assert max(sizes[2:]) <= sizes[1] * 1.5 + 1_000_000


def test_a_failed_event_is_redriven_with_all_its_attempts(store):
    put(store, "a")
    assert not store.write(lambda db: admin.redrive(db, "a", store.now()))
    end(store, claim(store), Final("failed", "RetriesExhausted", Counts(3)))
    assert store.write(lambda db: admin.redrive(db, "a", store.now()))
    assert claim(store).counts == Counts()
