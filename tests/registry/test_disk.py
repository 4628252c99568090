"""A disk that fails or is full in the middle of a change: the old function stays, and the next change works."""

import errno
import json
import subprocess
import sys

import pytest

from serverfull_wsgi.errors import ServiceException
from tests.support.registry import deploy, redeploy, registry_in
from tests.support.servers import ROOT
from tests.support.small_disk import PRIVATE, can_mount


@pytest.mark.quick
@pytest.mark.parametrize("step", ["package written", "package renamed", "document written"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_failed_write_leaves_the_old_function_and_no_files(tmp_path, step, number, capsys):
    deploy(registry_in(tmp_path))
    before = registry_in(tmp_path).function_configuration("hello")

    def reached(name):
        if name == step:
            raise OSError(number, "the disk fails")

    with pytest.raises(ServiceException) as refused:
        redeploy(registry_in(tmp_path, reached=reached))
    assert "disk" not in refused.value.message
    assert registry_in(tmp_path).function_configuration("hello") == before
    assert list(tmp_path.glob("registry/*/.new-*")) == []
    redeploy(registry_in(tmp_path))


CHILD = """
import json, sys, os
from pathlib import Path
from serverfull_wsgi.errors import ServiceException
from tests.support.registry import deploy, redeploy, registry_in
from tests.support.small_disk import fill

path = Path(sys.argv[1])
registry = registry_in(path)
old = deploy(registry)["CodeSha256"]
fill(path / "filler")
try:
    redeploy(registry)
except ServiceException:
    refused = True
during = registry_in(path).function_configuration("hello")["CodeSha256"]
os.unlink(path / "filler")
redeploy(registry)
after = registry.function_configuration("hello")["CodeSha256"]
rests = [str(file) for file in path.rglob(".new-*")]
print(json.dumps([refused, during == old, after != old, rests]))
"""


def test_a_full_disk_refuses_deploys_and_serves_the_old_code(tmp_path):
    if not can_mount(tmp_path):
        pytest.skip("this machine allows no private file system")
    child = subprocess.run(
        [*PRIVATE, tmp_path, sys.executable, "-c", CHILD, tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    assert json.loads(child.stdout.splitlines()[-1]) == [True, True, True, []]
