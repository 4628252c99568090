"""The battery: long checks, of which an ordinary run does a seeded share.

SERVERFULL_BATTERY=1 runs the whole (``tox -e battery``). SERVERFULL_BATTERY_SEED sets another seed. The figures that
the checks measure go to a JSON report; SERVERFULL_BATTERY_JSON sets its path.
"""

import fcntl
import json
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

WHOLE = os.environ.get("SERVERFULL_BATTERY") == "1"
SEED = int(os.environ.get("SERVERFULL_BATTERY_SEED") or 20261124)


def share(whole, ordinary):
    """Return the size of a check in this run: ``whole`` in a battery run, else ``ordinary``."""
    return whole if WHOLE else ordinary


class Battery:
    """The JSON report of measured figures: one array, to which each check adds an object."""

    def __init__(self, path):
        self.path = Path(path)

    def record(self, case, **figures):
        """Add the figures of one check."""
        with open(self.path, "a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # several test processes may share the file
            file.seek(0)
            entries = json.loads(file.read() or "[]")
            file.truncate(0)
            json.dump([*entries, {"case": case, **surroundings(), "figures": figures}], file, indent=1)


def surroundings():
    """Return the facts, besides the code, that a figure depends on."""
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
