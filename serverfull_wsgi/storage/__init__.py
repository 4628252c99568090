"""Files that several processes share, and that survive the death of any of them.

**Group commit.** A commit is an fsync, and an fsync takes milliseconds. Threads that write at the same time therefore
share one transaction (``group_commit.py``)::

    thread A   write ──▶ leader ──▶ gate ──▶ BEGIN  A B C  COMMIT (fsync) ──▶ wakes B and C; returns
    thread B   write ──▶ waits ─────────────────────────────────────────────▶ returns
    thread C   write ──▶ waits ─────────────────────────────────────────────▶ returns
    thread D               write ──▶ waits ──────────▶ leader of the next transaction

A thread returns only when its own operation is on the disk. A *deferred* write waits for the transaction of another
thread; its own thread calls `commit` for it if none comes soon. If the shared transaction fails, each operation is
tried in a transaction of its own, so that each thread gets its own error.

**Gate and file locks.** A `locks.Gate` lets one thread of one process use the database at a time. SQLite has locks
of its own, and they are not enough: SQLite 3.7.0 to 3.51.2 can damage a write-ahead log when two connections write or
checkpoint at the same instant (the WAL-reset bug, fixed in 3.51.3: https://sqlite.org/wal.html). The gate is a
`locks.FileLock`, an ``flock`` that the kernel releases when its process dies. Its file is never deleted: two processes
could each lock a file of that name, the deleted one and a new one. Reads need no gate: their connections open the file
for reading only, so they neither write nor checkpoint.

**Liveness.** Each process keeps one file locked (``liveness.py``). A file without a lock belongs to a process that
died, so its leases end at once and not after their time.

**Clock.** Deadlines are in store time (``clock.py``): seconds that never go back and that all processes share. The wall
clock is used for display only.

**Disk reserve.** A file of 8 MiB (``disk_reserve.py``) is deleted when the disk is full. Results of running events are
then written to this space, while new events are refused until the space is allocated again.

**The trap in SQLite's log.** SQLite reads a write-ahead log up to the first damaged frame and silently ignores the
commits after that frame. ``wal_check.py`` reads the log before SQLite does, and reports such commits. Only the first
process that opens a store can do this, because others append to the log.

**Packages.** ``archives.py`` unpacks zip archives. ``packages.py`` has the code packages of one process, and
``package_cache.py`` keeps unpacked ones for later processes. Without a cache they are in a directory of the process;
the next process removes the directories that killed processes left.
"""
