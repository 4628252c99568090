"""Wait for a condition."""

import time


def wait_until(condition, seconds=60.0):
    """Return the first true value of ``condition()``; fail after ``seconds``, which are for a loaded machine."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"the condition did not hold within {seconds:g} s"
        time.sleep(0.01)
    return value
