"""The requirements of the distribution."""

import re

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
