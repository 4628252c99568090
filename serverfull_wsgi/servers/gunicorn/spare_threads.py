"""Threads of granian that wait while one thread alone answers more requests than all of them.

granian makes a thread for each request that waits, up to the limit, and CPython runs one thread at a time. Each release
of the interpreter's lock then wakes another thread. With 16 connections, a short call cost 6 switches between threads
and 3 to 4 times the CPU time that one thread needs. So a thread waits here, after its response is sent, if another
thread is enough::

             50 calls end within 10 ms
    ALL ───────────────────────────────────> ONE takes requests; the others wait, each after its response
     ^                                        │
     │ after a pause, this may begin again    │  50 calls take more than 6 ms, or do not end within 30 ms:
     └────────────────────────────────────────┘  calls wait or compute, or requests are few

All threads together end about 8,000 short calls a second, and one thread has to end as many. Each change to ONE is an
attempt: if its calls wait for something, other requests wait for at most 40 ms. After each failed attempt the pause is
twice as long. After one that lasted for some batches it is short, since another program may have delayed the thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from threading import get_ident

CALLS = 50  # of a batch
SHORT = 0.01  # seconds for a batch of all threads
ENOUGH = 0.006  # seconds for a batch of one thread, on average
BATCHES = 8  # about the number of batches in the average, and the least of an attempt that succeeded
INTERVAL = 0.01  # seconds between two looks at the one thread
STALLED = 0.03  # seconds
SHORTEST_PAUSE, LONGEST_PAUSE = 0.1, 10.0  # seconds


class SpareThreads:
    """Keeps threads from taking requests while one thread is enough.

    Args:
        clock: returns the time in seconds.
        sleep: waits for a number of seconds.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._calls = 0  # that ended in the present batch
        self._began = clock()  # the present batch
        self._one: int | None = None  # the thread that takes requests; None for all
        self._batches = 0  # of the one thread
        self._average = 0.0  # seconds for one of them
        self._pause = SHORTEST_PAUSE
        self._paused_until = 0.0
        self._watching = threading.Lock()  # held by one waiting thread; the others wait for this lock

    def end_call(self) -> None:
        """Count a call whose response is sent. Return when this thread may take another request."""
        self._calls += 1
        if self._calls >= CALLS:
            self._end_batch()
        if self._one is not None and self._one != get_ident():
            self._wait()

    def _end_batch(self) -> None:
        now = self._clock()
        took, self._began, self._calls = now - self._began, now, 0
        if self._one is not None:
            self._batches += 1
            self._average += (took - self._average) / BATCHES
            if self._average > ENOUGH:
                self._release()
        elif took < SHORT and now >= self._paused_until:
            self._one, self._batches, self._average = get_ident(), 0, 0.0

    def _wait(self) -> None:
        with self._watching:
            while self._one is not None:
                self._sleep(INTERVAL)
                if self._clock() - self._began >= STALLED:
                    self._release()

    def _release(self) -> None:
        self._pause = SHORTEST_PAUSE if self._batches >= BATCHES else min(2 * self._pause, LONGEST_PAUSE)
        self._one, self._paused_until = None, self._clock() + self._pause
