"""The lineage in a trace header."""

import pytest

from serverfull_wsgi.events.lineage import extended, hops

pytestmark = pytest.mark.quick


def test_a_chain_counts_each_of_its_functions():
    trace = "Root=1-64f7ba59-40378aa81e4eecc34002f96a;Sampled=0"
    for function in ("aaaaaaaa", "bbbbbbbb", "aaaaaaaa", "aaaaaaaa"):
        trace = extended(trace, function)
    assert trace.endswith(";Lineage=bbbbbbbb:0|aaaaaaaa:2")
    assert (hops(trace, "aaaaaaaa"), hops(trace, "cccccccc")) == (2, 0)


@pytest.mark.parametrize("lineage", ["", "::|", "zz:1", "68fd508a:x", "68fd508a:99999", "|"])
def test_an_invalid_lineage_counts_nothing(lineage):
    assert hops(f"Root=1;Lineage={lineage}", "68fd508a") == 0
    assert extended(f"Root=1;Lineage={lineage}", "68fd508a") == "Root=1;Lineage=68fd508a:0"
