from tests.support.servers import Ports


def test_two_runs_side_by_side_never_share_a_port():
    one, other = Ports(), Ports()
    given = [[ports.free() for _ in range(500)] for ports in (one, other)]
    assert not set(given[0]) & set(given[1])
    assert len(set(given[0])) == 500
