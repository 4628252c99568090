"""The requirements of the distribution."""

import re
import shlex

import pytest
from packaging.requirements import Requirement

from tests.support.servers import ROOT


@pytest.mark.parametrize(
    ("platform", "machine", "installed"),
    [
        ("linux", "x86_64", True),
        ("linux", "aarch64", True),
        ("linux", "i686", False),
        ("linux", "armv7l", False),
        ("linux", "ppc64le", False),
        ("darwin", "arm64", False),
        ("darwin", "x86_64", False),
    ],
)
def test_the_runtime_client_is_installed_if_it_has_a_wheel(platform, machine, installed):
    text = re.search(r'"(awslambdaric.*)",$', (ROOT / "setup.py").read_text(), re.MULTILINE)[1]
    environment = {"sys_platform": platform, "platform_machine": machine}
    assert Requirement(text).marker.evaluate(environment) is installed


def test_the_line_that_leaves_the_runtime_client_out_names_all_other_requirements():
    """The markers of pip cannot tell musl from glibc, so that setup.py cannot leave the client out there."""
    (line,) = re.findall(r"^pip install ('werkzeug.*)$", (ROOT / "docs/quickstart.md").read_text(), re.MULTILINE)
    required = re.search(r"install_requires=\[(.*?)\]", (ROOT / "setup.py").read_text(), re.DOTALL)[1]
    names = re.findall(r'"(.+)"', required)
    assert shlex.split(line) == [name for name in names if not name.startswith("awslambdaric")]
