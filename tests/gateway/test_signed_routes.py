"""Routes that need an IAM signature: which requests they accept, as botocore signs them."""

import pytest

pytest.importorskip("botocore")

from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.support.gateway_hosts import Host
from tests.support.gateway_site import FUNCTIONS, REGION, SIGNED, serve

SERVICES = {"URL": "lambda", "REST": "execute-api", "H2": "execute-api"}
NOT_SIGNED = {"URL": "Forbidden. For trouble", "REST": "Missing Authentication Token", "H2": '{"message":"Forbidden"}'}
FORBIDDEN = {"URL": "Forbidden. For trouble", "REST": '{"message":"Forbidden"}', "H2": '{"message":"Forbidden"}'}


def signed(host, kind, key="AKIAADA", secret="secret", service="", body=b"body", signer=SigV4Auth):
    """Return the arguments of a client's request, signed with its whole path."""
    request = AWSRequest("POST", f"http://localhost{host.prefix}{SIGNED[kind]}", data=body)
    signer(Credentials(key, secret), service or SERVICES[kind], REGION).add_auth(request)
    return {"path": request.url, "data": body, "headers": dict(request.headers), "method": "POST"}


def send(host, kind, **signature):
    return host.whole.open(**signed(host, kind, **signature))


@pytest.mark.parametrize("kind", SIGNED)
@pytest.mark.parametrize("signer", [SigV4Auth, SigV4QueryAuth])
def test_a_signed_request_runs_the_function_with_its_identity(kind, signer, gateway_host):
    response = send(gateway_host, kind, signer=signer, body=b"")
    assert response.status_code == 200, response.text
    assert "arn:aws:iam::123456789012:user/ada" in response.text
    assert "AKIAADA" in response.text


@pytest.mark.parametrize("kind", SIGNED)
def test_a_signed_body_reaches_the_function(kind, gateway_host):
    assert send(gateway_host, kind).status_code == 200


@pytest.mark.parametrize("kind", SIGNED)
def test_a_request_without_a_signature_is_refused(kind, gateway_host):
    response = gateway_host.client(SIGNED[kind]).post("", data=b"body")
    assert response.status_code == 403
    assert NOT_SIGNED[kind] in response.text


FAULTS = [{"key": "AKIANOBODY"}, {"secret": "other"}, {"service": "s3"}, {"key": "AKIABOB"}, {"key": "AKIAEVE"}]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
@pytest.mark.parametrize("kind", SIGNED)
def test_a_signature_of_another_key_or_service_or_without_permission_is_refused(kind, fault, gateway_host):
    response = send(gateway_host, kind, **fault)
    assert response.status_code == 403
    assert FORBIDDEN[kind] in response.text


@pytest.mark.parametrize("kind", SIGNED)
def test_a_changed_body_is_refused(kind, gateway_host):
    sent = {**signed(gateway_host, kind), "data": b"other"}
    assert gateway_host.whole.open(**sent).status_code == 403


def test_a_signature_is_for_one_path(gateway_host):
    sent = {**signed(gateway_host, "REST"), "path": signed(gateway_host, "H2")["path"]}
    assert gateway_host.whole.open(**sent).status_code == 403


# Other configurations


def alone(**configuration):
    return Host("", serve(FUNCTIONS, **configuration))


def test_without_credentials_each_request_is_refused():
    host = alone(keys={})
    assert [send(host, kind).status_code for kind in SIGNED] == [403, 403, 403]


def test_the_replay_guard_holds_for_routes_too():
    host = alone(replay_guard=100)
    sent = signed(host, "URL")
    assert [host.whole.open(**sent).status_code for _ in range(2)] == [200, 403]


def test_refused_requests_do_not_fill_the_replay_guard():
    host = alone(replay_guard=4)
    for number in range(10):
        assert send(host, "URL", key="AKIABOB", body=str(number).encode()).status_code == 403
    assert send(host, "URL").status_code == 200
