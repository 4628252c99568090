"""Fixtures for the tests of isolated execution."""

import pytest

from tests.support.isolated import SANDBOXES, executing, needs_sandbox


@pytest.fixture(scope="module", params=SANDBOXES)
def executor(request):
    """Return an executor; a test that uses it runs at each level of protection."""
    needs_sandbox(request.param)
    with executing(sandbox=request.param) as executor:
        yield executor
