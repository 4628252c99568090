"""Load from wrk: one event, posted repeatedly; every response has to be a success."""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

SCRIPT = """
local event = io.open({path}, "rb")
wrk.method = "POST"
wrk.body = event:read("*a")
wrk.headers["Content-Type"] = "application/json"
{headers}
event:close()

done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("\\nRESULT %d %d %d\\n", summary.requests, summary.duration,
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


class Rate(NamedTuple):
    """Requests of a server under load: per second, and per second of its CPU time."""

    per_second: float
    per_cpu_second: float


def run(server, event, connections, seconds, headers=None):
    """Return the rate of ``server`` under load from ``connections`` for ``seconds``.

    Raises:
        RuntimeError: if a request failed, or none was answered.
    """
    cpu_before = server.cpu()
    requests, duration = _wrk(server.url, event, connections, seconds, headers or {})
    if not requests:
        raise RuntimeError(f"{server.url} answered no request in {seconds} s; pass more --seconds")
    return Rate(requests / duration, requests / (server.cpu() - cpu_before))


def warm_up(server, event, connections):
    """Load a server for a second. Raises as `run`, but not if no request is answered in this second."""
    _wrk(server.url, event, connections, 1, server.headers)


def _wrk(url, event, connections, seconds, headers):
    with tempfile.TemporaryDirectory() as directory:
        script, body = Path(directory, "post.lua"), Path(directory, "event.json")
        body.write_bytes(event)
        lines = "\n".join(f"wrk.headers[{json.dumps(name)}] = {json.dumps(text)}" for name, text in headers.items())
        script.write_text(SCRIPT.format(path=json.dumps(str(body)), headers=lines))
        command = [shutil.which("wrk"), "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script), url]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    requests, microseconds, failed = map(int, output.rpartition("RESULT")[2].split())
    if failed:
        raise RuntimeError(f"{failed} of {requests} requests to {url} failed:\n{output}")
    return requests, microseconds / 1e6
