"""Durable events in one SQLite file that the processes of one machine share.

**States of an event.** Each arrow is a function of ``statements.py``, or of ``admin.py``, inside one transaction::

       +-------- insert, with a lease --------+
       |                                      v
    insert ---> queued ----- claim ----> running ----- end ----> succeeded
                  ^                       |  |
                  |                       |  +-------- end ----> failed
                  +------ postpone -------+                        |
                  |       release                                  |
                  +--------------------- redrive ------------------+

`insert` accepts an event. `claim` leases the event that has been due longest: a queued one, or a running one with a
lease that ran out. `postpone` schedules a retry, and `release` gives a lease back. `redrive` is an operator's command.
Ended events are removed after their retention time.

**The short way.** `insert` may write the lease too. In the same transaction it checks the conditions of a claim: this
process leads, and no other event is due. In addition a thread of this process must be idle; it gets the event after
the commit (``idle_threads.py``). So an event of an idle queue takes no transaction for its claim. The end of an event
waits up to 2 ms for the transaction of another accept. So under load an event takes one transaction in the place of
three. A thread begins no other event before the end of its last one is on the disk. So a kill repeats at most as many
events as there are threads, and an event that was given to no thread has no lease.

The column ``due`` is the time at which a row needs a worker: when a queued event may run, or when the lease of a
running event ends. It is NULL after the end. So one index finds both, and an event whose worker died needs no repair:
`claim` finds it like any other event. The rules of retries are those of `serverfull_wsgi.events`.

The end of an event and the records for its destinations are written in one transaction. Records are rows with leases
too, so a record is delivered at least once, and never for an event that did not end. A delivery that fails is tried
again after 1, 2, 4 … 300 s, for as long as it takes.

**Leases and the fence.** A claim gives the row a *holder* (the process), a count of runs, and an end. The process
renews the lease each time a third of its length is over. A result is written only if the row still has the holder and
the count of the claim; this is the fence. Suppose that a process is suspended, its lease runs out, and another process
runs the event. Then the late result of the first process changes nothing. Lost leases are counted. Events with two of
them run one at a time, and the fifth ends an event. So an event that kills its processes cannot stop the others.

A lease usually ends early. `release` gives it back when a process stops. When a process dies, the kernel frees the
process's liveness lock, and the leader expires the leases within half a second.

**Leadership.** One process at a time claims events (``leader_election.py``): a ``serverfull worker`` if there is one,
or a web process. Leadership is a lease too, one row of the store, in store time. If the leader stops or dies, another
process acquires the leadership at its next tick, a tenth of a second later. If the leader hangs, another process
acquires the leadership when the lease has run out. Each claim checks the leadership in its own transaction. A process
that hangs inside a transaction keeps the store's locks, so it is killed (``storage/hung_holder.py``). Leadership
keeps processes out of each other's way; the leases of the events alone make results correct.

**Durability.** A 202 is true because `Store.write` returns after COMMIT, and COMMIT returns after the fsync of the
write-ahead log (``synchronous=FULL``). Threads share that fsync; see `serverfull_wsgi.storage`. A new store gets its
name only when it is complete, and then its directory is synced. If the disk is full, new events get a 500 and running
events end in reserved space. After each commit with a new event, `Place` checks that the open files are still at their
paths. If someone moved, removed or replaced them, a restart would not find the event, so its caller gets a 500.

**Operators and large stores.** An accept waits at most 0.7 s for its turn. So no other transaction may be long, however
many events the store has. Each query has an index for its condition. Commands that change many events, and retention,
take pages of at most 500 events and 8 MiB, and pause between pages for as long as the page took. Reads have connections
of their own, which take no part in the gate, cannot change the file and never checkpoint.

**Opening.** The first process that opens a store checks the whole file, inside the gate, and upgrades an older one. The
others wait for as long as that process makes progress (``storage/progress.py``), and give up after 30 s without.

**One session in each process.** `SqliteQueue` holds options only. `SqliteQueue.start` opens a `Session`: the store, the
leader election, the workers and the housekeeper. A forked child starts a session of its own and never uses its
parent's::

    SqliteQueue.put ----> Store <---- EventWorkers     run events; the leader has threads for this
                           ^  ^-----  DeliveryWorkers  deliver records; likewise
                           |
                      housekeeper     every 0.1 s: leases, leadership, due events, dead processes, old events

Modules: ``queue`` (the protocol), ``session`` (one process), ``workers`` (threads), ``leader_election``, ``store`` (the
open file), ``schema`` (tables, migrations, checks), ``statements`` and ``admin`` (SQL of workers and of operators),
``idle_threads`` (threads that wait for events).
"""
