"""JWT authorizers: which tokens of an issuer are accepted. The issuer is an HTTP server of the test."""

import base64
import hmac
import json
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone

import pytest

pytest.importorskip("jwt")

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID
from pytest_httpserver import HTTPServer
from werkzeug import Response
from werkzeug.test import Client

from serverfull_wsgi import Application, StaticFetcher
from serverfull_wsgi.gateway import json_web_tokens
from serverfull_wsgi.gateway.access import Access, JwtAuthorizer
from serverfull_wsgi.gateway.authorizers import Authorizers
from serverfull_wsgi.gateway.formats import Route, http_v2
from serverfull_wsgi.gateway.front import SiteServer
from serverfull_wsgi.gateway.gateway import Gateway
from serverfull_wsgi.gateway.json_web_tokens import LIFETIME, REFRESH, Tokens
from serverfull_wsgi.gateway.sites import Endpoint, http_api

pytestmark = pytest.mark.quick

KEY, OTHER = (rsa.generate_private_key(65537, 2048) for _ in range(2))


def public(key, kid):
    return {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig"}


class Issuer:
    """An issuer with its keys, and the number of times that they were read."""

    def __init__(self, httpserver):
        self.url = httpserver.url_for("").rstrip("/")
        self.keys, self.reads, self.is_up = [public(KEY, "one")], 0, True
        httpserver.expect_request("/.well-known/openid-configuration").respond_with_json(
            {"jwks_uri": f"{self.url}/keys"}
        )
        httpserver.expect_request("/keys").respond_with_handler(self.answer)

    def answer(self, request):
        self.reads += 1
        return Response(json.dumps({"keys": self.keys})) if self.is_up else Response("", 503)

    def token(self, key=KEY, kid="one", algorithm="RS256", **claims):
        now = int(time.time())
        members = {"iss": self.url, "aud": "shop", "sub": "ada", "iat": now, "exp": now + 60, **claims}
        headers = {"kid": kid} if kid else {}
        kept = {name: value for name, value in members.items() if value is not None}
        return jwt.encode(kept, key, algorithm, headers=headers)


class Api:
    def __init__(self, issuer, **authorizer):
        self.now = 0.0
        function = {"echo": lambda event, context: event["requestContext"]["authorizer"]}
        self.application = Application(StaticFetcher(function))
        authorizer = JwtAuthorizer(issuer.url, ("shop", "app"), **authorizer)
        endpoint = Endpoint(Route("GET /", "echo"), http_v2, access=Access(token=authorizer))
        dispatcher = self.application.dispatcher
        authorizers = Authorizers(dispatcher, tokens=Tokens(lambda: self.now))
        server = SiteServer(Gateway(dispatcher, authorizers), root=http_api(("shop",), {"GET /": endpoint}))
        self.client = Client(server, use_cookies=False)

    def get(self, token="", path="/", form="Bearer {}"):
        return self.client.get(path, headers={"Authorization": form.format(token)} if token else {})


@pytest.fixture
def issuer(httpserver):
    return Issuer(httpserver)


@pytest.mark.parametrize("form", ["Bearer {}", "{}", "bearer {}"])
def test_the_function_receives_the_claims_of_a_valid_token(form, issuer):
    response = Api(issuer).get(issuer.token(groups=["a", "b"], admin=True), form=form)
    assert response.status_code == 200
    claims = response.json["jwt"]["claims"]
    assert (claims["sub"], claims["groups"], claims["admin"], claims["aud"]) == ("ada", "[a b]", "true", "shop")
    assert response.json["jwt"]["scopes"] is None


def test_the_token_may_be_in_the_query(issuer):
    api = Api(issuer, source=("querystring", "token"))
    assert api.get(path=f"/?token={issuer.token()}").status_code == 200
    assert api.get(issuer.token()).status_code == 401


ACCEPTED = [{"aud": ["x", "app"]}, {"aud": None, "client_id": "shop"}, {"nbf": 1}, {"iat": None}]


@pytest.mark.parametrize("claims", ACCEPTED, ids=str)
def test_an_accepted_token(claims, issuer):
    assert Api(issuer).get(issuer.token(**claims)).status_code == 200


LATER = int(datetime(2100, 1, 1, tzinfo=timezone.utc).timestamp())
REFUSED = [
    {"iss": "https://other.example"},
    {"iss": None},
    {"aud": "other"},
    {"aud": None},
    {"aud": "other", "client_id": "shop"},
    {"exp": 1},
    {"exp": None},
    {"nbf": LATER},
    {"iat": LATER},
    {"key": OTHER},
    {"kid": "two"},
    {"kid": "two", "key": OTHER},
    {"key": "secret" * 8, "algorithm": "HS256"},
    {"key": ec.generate_private_key(ec.SECP256R1()), "algorithm": "ES256"},
    {"key": None, "algorithm": "none"},
]


@pytest.mark.parametrize("claims", REFUSED, ids=lambda claims: "-".join(claims))
def test_a_refused_token(claims, issuer):
    response = Api(issuer).get(issuer.token(**claims))
    assert (response.status_code, response.json) == (401, {"message": "Unauthorized"})
    assert response.headers["www-authenticate"].startswith("Bearer")


NOT_CLAIMS = {"x": "[" * 2000 + "]" * 2000, "exp": "[1]", "nbf": "{}", "iat": "-1e999", "iss": "[1]"}


@pytest.mark.parametrize("name", NOT_CLAIMS)
def test_signed_claims_of_a_wrong_type_are_refused(name, issuer, caplog):
    claims = {"iss": f'"{issuer.url}"', "aud": '"shop"', "exp": str(LATER), name: NOT_CLAIMS[name]}
    text = ", ".join(f'"{claim}": {value}' for claim, value in claims.items())
    token = jwt.PyJWS().encode(f"{{{text}}}".encode(), KEY, "RS256", {"kid": "one"})
    assert Api(issuer).get(token).status_code == 401
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "ä", "Bearer"])
def test_what_is_no_token_is_refused_without_the_issuer(token, issuer):
    assert Api(issuer).get(token).status_code == 401
    assert issuer.reads == 0


def test_a_public_key_is_no_secret_of_an_issuer(issuer):
    """The attack on libraries that take the algorithm from the token: HS256 with the public key as the secret."""
    _, claims, _ = issuer.token().split(".")
    header = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": "one", "typ": "JWT"}).encode()).rstrip(b"=")
    secret = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signed = header + b"." + claims.encode()
    signature = base64.urlsafe_b64encode(hmac.digest(secret, signed, "sha256")).rstrip(b"=")
    assert Api(issuer).get((signed + b"." + signature).decode()).status_code == 401


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({"scope": "read write"}, 200),
        ({"scp": ["read"]}, 200),
        ({"scope": "other"}, 403),
        ({"scope": "readwrite"}, 403),
        ({}, 403),
    ],
)
def test_a_token_needs_one_of_the_routes_scopes(claims, status, issuer):
    response = Api(issuer, scopes=("read", "admin")).get(issuer.token(**claims))
    assert response.status_code == status
    if status == 403:
        assert response.json == {"message": "Forbidden"}


# Keys


def test_keys_are_read_once_and_again_after_their_life(issuer):
    api = Api(issuer)
    for _ in range(3):
        assert api.get(issuer.token()).status_code == 200
    assert issuer.reads == 1
    api.now = LIFETIME
    api.get(issuer.token())
    assert issuer.reads == 2


def test_a_token_with_an_unknown_key_reads_the_keys_again_at_most_once_a_minute(issuer):
    api = Api(issuer)
    assert api.get(issuer.token()).status_code == 200
    issuer.keys.append(public(OTHER, "two"))
    assert api.get(issuer.token(OTHER, "two")).status_code == 401
    assert issuer.reads == 1
    api.now = REFRESH
    assert api.get(issuer.token(OTHER, "two")).status_code == 200
    for number in range(5):
        assert api.get(issuer.token(OTHER, f"invented{number}")).status_code == 401
    assert issuer.reads == 2


def test_known_keys_stay_good_while_the_issuer_does_not_answer(issuer):
    api = Api(issuer)
    assert api.get(issuer.token()).status_code == 200
    issuer.is_up, api.now = False, LIFETIME + 1
    assert api.get(issuer.token()).status_code == 200


def test_an_issuer_that_does_not_answer_lets_nobody_in_and_is_not_called_all_the_time(issuer):
    issuer.is_up = False
    api = Api(issuer)
    for _ in range(3):
        assert api.get(issuer.token()).status_code == 401
    assert issuer.reads == 1
    issuer.is_up, api.now = True, REFRESH
    assert api.get(issuer.token()).status_code == 200


def test_keys_come_over_https_or_from_the_loopback_only():
    class Elsewhere:
        url = "http://issuer.example"

    assert Api(Elsewhere()).get(jwt.encode({"iss": Elsewhere.url}, "secret" * 8)).status_code == 401


@pytest.mark.parametrize("jwks_uri", ["{}/a b", "{}/[", "{}/nested", 5, "ftp://localhost/keys"])
def test_an_issuer_whose_documents_are_faulty_is_not_called_all_the_time(jwks_uri, httpserver):
    issuer, reads = Issuer(httpserver), []
    httpserver.clear()

    def answer(request):
        reads.append(request)
        uri = jwks_uri.format(issuer.url) if isinstance(jwks_uri, str) else jwks_uri
        return Response(json.dumps({"jwks_uri": uri}))

    httpserver.expect_request("/.well-known/openid-configuration").respond_with_handler(answer)
    httpserver.expect_request("/nested").respond_with_data("[" * 100_000)
    api = Api(issuer)
    assert [api.get(issuer.token()).status_code for _ in range(3)] == [401, 401, 401]
    assert len(reads) == 1


def test_a_faulty_key_of_an_issuer_leaves_the_others_good(issuer):
    issuer.keys = [{"kty": "RSA", "kid": "broken", "n": "AA", "e": "AQAB"}, {"kty": "RSA"}, *issuer.keys]
    assert Api(issuer).get(issuer.token()).status_code == 200


def test_a_redirection_from_the_loopback_to_plain_http_elsewhere_is_refused(issuer, httpserver):
    elsewhere = f"http://0.0.0.0:{httpserver.port}"  # Linux connects this to the loopback
    httpserver.clear()
    httpserver.expect_request("/.well-known/openid-configuration").respond_with_json({"jwks_uri": f"{issuer.url}/to"})
    httpserver.expect_request("/to").respond_with_data("", 302, {"Location": f"{elsewhere}/keys"})
    httpserver.expect_request("/keys").respond_with_handler(issuer.answer)
    assert Api(issuer).get(issuer.token()).status_code == 401
    assert issuer.reads == 0  # no request goes there


def test_a_caller_with_a_known_key_does_not_wait_for_a_slow_issuer(issuer, httpserver):
    api = Api(issuer)
    assert api.get(issuer.token()).status_code == 200
    called, is_over = threading.Event(), threading.Event()

    def answer(request):
        called.set()
        is_over.wait(30)
        return issuer.answer(request)

    httpserver.clear()
    httpserver.expect_request("/.well-known/openid-configuration").respond_with_handler(answer)
    api.now = LIFETIME
    with ThreadPoolExecutor(1) as pool:
        stranger = pool.submit(api.get, issuer.token(OTHER, "invented"))
        assert called.wait(30)
        assert api.get(issuer.token()).status_code == 200
        assert not stranger.done()
        is_over.set()
        assert stranger.result().status_code == 401


def test_an_issuer_whose_answer_has_no_end_is_left(issuer, httpserver, monkeypatch):
    monkeypatch.setattr(json_web_tokens, "TIMEOUT", 0.3)
    pieces, never = [], threading.Event()

    def endless():
        while len(pieces) < 1000:
            pieces.append(b" ")
            never.wait(0.02)
            yield b" "

    httpserver.clear()
    httpserver.expect_request("/.well-known/openid-configuration").respond_with_handler(lambda _: Response(endless()))
    assert Api(issuer).get(issuer.token()).status_code == 401
    assert len(pieces) < 1000


def test_an_issuer_with_tls_keeps_its_keys_behind_tls(issuer, tmp_path, monkeypatch):
    certificate = localhost_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with HTTPServer("localhost", ssl_context=context) as secure:
        plain_keys, issuer.url = f"{issuer.url}/keys", secure.url_for("").rstrip("/")
        document = secure.expect_request("/.well-known/openid-configuration")
        document.respond_with_json({"jwks_uri": plain_keys})
        secure.expect_request("/keys").respond_with_handler(issuer.answer)
        assert Api(issuer).get(issuer.token()).status_code == 401
        assert issuer.reads == 0
        document.respond_with_json({"jwks_uri": f"{issuer.url}/keys"})
        assert Api(issuer).get(issuer.token()).status_code == 200


def localhost_certificate(folder):
    """Return a file with a key and its certificate for ``localhost``."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    builder = x509.CertificateBuilder(name, name, KEY.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(datetime(2020, 1, 1)).not_valid_after(datetime(2100, 1, 1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    file = folder / "certificate.pem"
    key = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(key + builder.sign(KEY, SHA256()).public_bytes(Encoding.PEM))
    return file
