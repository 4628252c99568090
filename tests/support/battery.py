"""The battery of long checks: how much of it a run does, and a record of what it measured.

The ordinary run does a seeded share; SERVERFULL_BATTERY=1 does the whole (``tox -e battery``). SERVERFULL_BATTERY_SEED
is another seed, SERVERFULL_BATTERY_JSON another file. A test module takes part with
``pytest_plugins = ["tests.support.battery"]``; since it also imports from here, pytest must not want to rewrite this
module: PYTEST_DONT_REWRITE.
"""

import fcntl
import json
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

import pytest

WHOLE = os.environ.get("SERVERFULL_BATTERY") == "1"
SEED = int(os.environ.get("SERVERFULL_BATTERY_SEED") or 20261124)

_lines = []


def share(whole, ordinary):
    """How many of ``whole`` this run does."""
    return whole if WHOLE else ordinary


class Battery:
    """Where measured figures go: the end of the run's output, and a file that is one JSON array."""

    def __init__(self, path):
        self.path = Path(path)

    def record(self, case, **figures):
        _lines.append(f"{case}: " + ", ".join(f"{name} {value}" for name, value in figures.items()))
        with open(self.path, "a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # test processes may share the file
            file.seek(0)
            entries = json.loads(file.read() or "[]")
            file.truncate(0)
            json.dump([*entries, {"case": case, **surroundings(), "figures": figures}], file, indent=1)


def surroundings():
    """What a figure depends on besides the code."""
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "whole": WHOLE,
        "seed": SEED,
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("serverfull-wsgi", "gunicorn", "werkzeug", "hypothesis", "boto3")},
        },
        "machine": {"platform": platform.platform(), "cpus": os.cpu_count()},
    }


@pytest.fixture(scope="session")
def battery(tmp_path_factory):
    default = "battery.json" if WHOLE else tmp_path_factory.getbasetemp() / "battery.json"
    return Battery(os.environ.get("SERVERFULL_BATTERY_JSON") or default)


def pytest_terminal_summary(terminalreporter):
    if _lines:
        terminalreporter.section(f"battery, {'the whole' if WHOLE else 'a share'}, seed {SEED}")
        for line in _lines:
            terminalreporter.line(line)
