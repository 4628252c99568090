"""C10: a function looks for twenty secrets, in its server and in its neighbour."""

import importlib.util
import json
import subprocess
import sys

import pytest

from tests.support.isolated import needs_namespaces
from tests.support.secrets_server import secret
from tests.support.servers import ROOT, clean_environ

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not importlib.util.find_spec("awslambdaric"),
    reason="awslambdaric has wheels for Linux on x86-64 and aarch64 only",
)


@pytest.mark.parametrize("sandbox", ["process", "namespaces"])
def test_twenty_secrets_are_looked_for(sandbox, tmp_path, battery):
    if sandbox == "namespaces":
        needs_namespaces()
    argv = [sys.executable, "-m", "tests.support.secrets_server", sandbox, str(tmp_path), secret("command-line")]
    env = {**clean_environ(), "PLANTED": secret("environment")}
    told = json.loads(subprocess.run(argv, stdout=subprocess.PIPE, env=env, cwd=ROOT, check=True).stdout)
    battery.record(f"C10 ({sandbox})", planted=len(told["planted"]), found=len(told["found"]), where=told["found"])
    assert len(told["planted"]) == 20
    assert told["open"], "the search works: it finds what lies open"
    if sandbox == "namespaces":
        in_tmp = {"temporary-file", "file-of-a-neighbour"}
        assert set(told["found"]) <= (set() if told["own_tmp"] else in_tmp)
    else:
        assert "temporary-file" in told["found"]  # as the README says
