"""The queue in memory."""

import subprocess
import sys

import pytest

from serverfull_wsgi import EventConfig, FunctionName, Invocation, MemoryQueue
from serverfull_wsgi.errors import ServiceException

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
