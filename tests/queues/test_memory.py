"""The queue in memory."""

import contextlib
import subprocess
import sys
import time

import pytest

from serverfull_wsgi import Application, EventConfig, Function, FunctionName, Invocation, MemoryQueue, StaticFetcher
from serverfull_wsgi.errors import ServiceException, TooManyRequestsException
from tests.support.waiting import wait_until

pytestmark = pytest.mark.quick

NAME = FunctionName.parse("hello", region="eu-west-1", account_id="123456789012")


def test_a_queue_that_is_not_started_refuses_events():
    with pytest.raises(ServiceException):
        MemoryQueue().put(Invocation(NAME, b"1", "an-id"), EventConfig())


FORK = """
import os, threading
from serverfull_wsgi import EventConfig, FunctionName, Invocation, MemoryQueue
name = FunctionName.parse("hello", region="eu-west-1", account_id="123456789012")
queue = MemoryQueue(drain=600)
queue.start(run=lambda invocation, age: threading.Event().wait(), send=None)
queue.put(Invocation(name, b"1", "an-id"), EventConfig())
if child := os.fork():
    os.waitpid(child, 0)
else:
    queue.close()
os._exit(0)
"""


def test_a_forked_child_does_not_wait_for_the_events_of_its_parent():
    assert subprocess.run([sys.executable, "-c", FORK], timeout=60, check=False).returncode == 0


def test_a_throttled_event_waits_until_its_function_may_run():
    """A function with a reserved concurrency of 1, and a queue of 4 threads."""
    ran = []

    def handler(event, context):
        time.sleep(0.02)
        ran.append(event)

    function = Function(handler, reserved=1)
    with contextlib.closing(Application(StaticFetcher({"f": function}), queue=MemoryQueue(workers=4))) as application:
        name = application.dispatcher.name("f")
        application.start()
        for number in range(8):
            application.dispatcher.accept(Invocation(name, b"%d" % number, f"id-{number}"))
    assert sorted(ran) == list(range(8))


def test_the_end_of_the_drain_time_drops_a_throttled_event(caplog):
    def run(invocation, age):
        raise TooManyRequestsException

    queue = MemoryQueue(drain=0.1)
    queue.start(run=run, send=None)
    queue.put(Invocation(NAME, b"1", "an-id"), EventConfig())
    queue.close()
    wait_until(lambda: "event an-id could not run and is lost" in caplog.text)
