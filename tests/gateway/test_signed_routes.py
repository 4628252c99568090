"""Routes that need an IAM signature: which requests they accept, as botocore signs them."""

import pytest

pytest.importorskip("botocore")

from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from werkzeug.test import Client

from serverfull_wsgi import Application, StaticFetcher
from serverfull_wsgi.auth.credentials import Credential
from serverfull_wsgi.auth.sigv4.verifier import Verifier
from serverfull_wsgi.gateway.access import Access
from serverfull_wsgi.gateway.formats import Route, Stage, function_url, http_v2, rest_v1
from serverfull_wsgi.gateway.front import SiteServer
from serverfull_wsgi.gateway.gateway import Gateway
from serverfull_wsgi.gateway.locations import Locations
from serverfull_wsgi.gateway.sites import Endpoint, http_api, rest_api
from serverfull_wsgi.gateway.sites import function_url as url_site

pytestmark = pytest.mark.quick

REGION = "us-east-1"
KEYS = {
    "AKIAADA": Credential("secret", name="ada"),
    "AKIABOB": Credential("secret", name="bob", functions=("other",)),
    "AKIAEVE": Credential("secret", name="eve", actions=frozenset({"event"})),
}
PATHS = {
    "URL": "/_aws/lambda-url/pets/a%20b",
    "REST": "/_aws/execute-api/rest/Prod/pets",
    "H2": "/_aws/execute-api/http/$default/pets",
}
SERVICES = {"URL": "lambda", "REST": "execute-api", "H2": "execute-api"}
NOT_SIGNED = {"URL": "Forbidden. For trouble", "REST": "Missing Authentication Token", "H2": '{"message":"Forbidden"}'}
FORBIDDEN = {"URL": "Forbidden. For trouble", "REST": '{"message":"Forbidden"}', "H2": '{"message":"Forbidden"}'}


def served(replay_guard=0, keys=KEYS):
    access = Access(needs_signature=True)
    echo = {"pets": lambda event, context: {"statusCode": 200, "body": repr(event["requestContext"])}}
    application = Application(StaticFetcher(echo))
    url = Endpoint(Route(function="pets", stage=Stage("$default", "pets")), function_url, access=access)
    rest = Endpoint(Route("POST /pets", "pets", Stage("Prod", "rest")), rest_v1, access=access)
    http = Endpoint(Route("POST /pets", "pets", Stage("$default", "http")), http_v2, access=access)
    sites = [
        url_site(("pets",), url),
        rest_api(("rest",), {"POST /pets": rest}),
        http_api(("http",), {"POST /pets": http}),
    ]
    services = ("lambda", "execute-api") if keys else ()
    verifiers = {name: Verifier(keys, REGION, name, replay_guard=replay_guard) for name in services}
    server = SiteServer(Gateway(application.dispatcher), locations=Locations(sites), verifiers=verifiers)
    return Client(server, use_cookies=False)


@pytest.fixture(scope="module")
def client():
    return served()


def signed(kind, key="AKIAADA", secret="secret", service="", body=b"body", signer=SigV4Auth):
    request = AWSRequest("POST", f"http://localhost{PATHS[kind]}", data=body)
    signer(Credentials(key, secret), service or SERVICES[kind], REGION).add_auth(request)
    return {"path": request.url, "data": body, "headers": dict(request.headers), "method": "POST"}


@pytest.mark.parametrize("kind", PATHS)
@pytest.mark.parametrize("signer", [SigV4Auth, SigV4QueryAuth])
def test_a_signed_request_runs_the_function_with_its_identity(kind, signer, client):
    response = client.open(**signed(kind, signer=signer, body=b""))
    assert response.status_code == 200, response.text
    assert "arn:aws:iam::123456789012:user/ada" in response.text
    assert "AKIAADA" in response.text


@pytest.mark.parametrize("kind", PATHS)
def test_a_signed_body_reaches_the_function(kind, client):
    assert client.open(**signed(kind)).status_code == 200


@pytest.mark.parametrize("kind", PATHS)
def test_a_request_without_a_signature_is_refused(kind, client):
    response = client.post(PATHS[kind], data=b"body")
    assert response.status_code == 403
    assert NOT_SIGNED[kind] in response.text


FAULTS = [{"key": "AKIANOBODY"}, {"secret": "other"}, {"service": "s3"}, {"key": "AKIABOB"}, {"key": "AKIAEVE"}]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
@pytest.mark.parametrize("kind", PATHS)
def test_a_signature_of_another_key_or_service_or_without_permission_is_refused(kind, fault, client):
    response = client.open(**signed(kind, **fault))
    assert response.status_code == 403
    assert FORBIDDEN[kind] in response.text


@pytest.mark.parametrize("kind", PATHS)
def test_a_changed_body_is_refused(kind, client):
    assert client.open(**{**signed(kind), "data": b"other"}).status_code == 403


def test_a_signature_is_for_one_path(client):
    sent = {**signed("REST"), "path": f"http://localhost{PATHS['H2']}"}
    assert client.open(**sent).status_code == 403


def test_without_credentials_each_request_is_refused():
    client = served(keys={})
    assert [client.open(**signed(kind)).status_code for kind in PATHS] == [403, 403, 403]


def test_the_replay_guard_holds_for_routes_too():
    client, sent = served(replay_guard=100), signed("URL")
    assert [client.open(**sent).status_code for _ in range(2)] == [200, 403]


def test_refused_requests_do_not_fill_the_replay_guard():
    client = served(replay_guard=4)
    for number in range(10):
        assert client.open(**signed("URL", "AKIABOB", body=str(number).encode())).status_code == 403
    assert client.open(**signed("URL")).status_code == 200
