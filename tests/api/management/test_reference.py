"""The documentation's table of operations."""

import pytest

from serverfull_wsgi.api.management import reference
from tests.support.servers import ROOT

pytestmark = pytest.mark.quick


def test_the_table_of_operations_is_up_to_date():
    """After a change: ``python -m serverfull_wsgi.api.management.reference > docs/management_api.md``."""
    assert (ROOT / "docs/management_api.md").read_text() == reference.page()
