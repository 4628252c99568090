from tests.support.servers import Ports


def test_two_test_runs_never_share_a_port():
    one, other = Ports(), Ports()
    ports, others = [[block.free() for _ in range(150)] for block in (one, other)]
    assert not set(ports) & set(others)
    assert len(set(ports)) == 150
