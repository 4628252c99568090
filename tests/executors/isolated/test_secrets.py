"""A function searches for twenty secrets, in its server and in its neighbour."""

import json
import subprocess
import sys

import pytest

from tests.support.isolated import SANDBOXES, needs_client, needs_sandbox
from tests.support.secrets_server import new_secret
from tests.support.servers import ROOT, clean_environ

pytestmark = needs_client


@pytest.mark.parametrize("sandbox", SANDBOXES)
def test_a_function_finds_no_secret_that_its_sandbox_protects(sandbox, tmp_path, battery):
    needs_sandbox(sandbox)
    argv = [sys.executable, "-m", "tests.support.secrets_server", sandbox, str(tmp_path), new_secret("command-line")]
    env = {**clean_environ(), "PLANTED": new_secret("environment")}
    report = json.loads(subprocess.run(argv, stdout=subprocess.PIPE, env=env, cwd=ROOT, check=True).stdout)
    planted, found = report["planted"], report["found"]
    battery.record(f"secrets ({sandbox})", planted=len(planted), found=len(found), where=found)
    assert len(planted) == 20
    if sandbox == "root":
        assert not report["open"]  # a file that every process of this user may read
        assert found == {}
        return
    assert report["open"], "the search works: it finds a secret that all may read"
    if sandbox == "namespaces":
        in_tmp = {"temporary-file", "file-of-a-neighbour"}
        assert set(found) <= (set() if report["own_tmp"] else in_tmp)
    else:
        assert "temporary-file" in found  # as the documentation says of this sandbox
