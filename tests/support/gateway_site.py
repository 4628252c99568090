"""The sites of the gateway's tests: one of each kind, alone and mounted in other applications."""

import base64
import json

import apig_wsgi
import flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from serverfull_wsgi import Application, Function, StaticFetcher
from serverfull_wsgi.auth.credentials import Credential
from serverfull_wsgi.auth.sigv4.verifier import Verifier
from serverfull_wsgi.front import Front
from serverfull_wsgi.gateway.access import Access, JwtAuthorizer, LambdaAuthorizer
from serverfull_wsgi.gateway.authorizers import Authorizers
from serverfull_wsgi.gateway.formats import Route, Stage, TargetGroup, function_url, http_v1, http_v2, rest_v1
from serverfull_wsgi.gateway.front import SiteServer
from serverfull_wsgi.gateway.gateway import Gateway
from serverfull_wsgi.gateway.json_web_tokens import Tokens
from serverfull_wsgi.gateway.locations import Locations
from serverfull_wsgi.gateway.sites import Endpoint, http_api, load_balancer, rest_api
from serverfull_wsgi.gateway.sites import function_url as url_site
from tests.support import isolated, mounts
from tests.support.token_issuer import TokenIssuer

PNG = b"\x89PNG\r\n\x1a\n\x00\xff"
REGION = "us-east-1"
KEYS = {
    "AKIAADA": Credential("secret", name="ada"),
    "AKIABOB": Credential("secret", name="bob", functions=("other",)),
    "AKIAEVE": Credential("secret", name="eve", actions=frozenset({"event"})),
}

# One site of each kind for the function `web`


PATHS = {
    "REST": "/_aws/execute-api/rest/Prod",
    "H1": "/_aws/execute-api/old/$default",
    "H2": "/_aws/execute-api/http/$default",
    "URL": "/_aws/lambda-url/web",
    "ALB": "/_aws/elb/single",
    "ALB+": "/_aws/elb/multi",
}
SIGNED = {
    "REST": "/_aws/execute-api/rest-signed/Prod/pets",
    "H2": "/_aws/execute-api/http-signed/$default/pets",
    "URL": "/_aws/lambda-url/signed/a%20b",
}
RESTRICTED = {
    "key": "/_aws/execute-api/rest-restricted/Prod/key",
    "token": "/_aws/execute-api/rest-restricted/Prod/token",
    "request": "/_aws/execute-api/http-restricted/$default/request",
    "jwt": "/_aws/execute-api/http-restricted/$default/jwt",
}
API_KEY, PASSWORD, AUDIENCE = "key of the shop", "let me in", "shop"
AUTHORIZATION = (("header", "Authorization"),)
issuer = TokenIssuer()


def restricted_sites():
    """Return an API of each kind, whose routes have an API key, Lambda authorizers, and an issuer of tokens."""
    prod, stage = Stage("Prod", "rest-restricted"), Stage("$default", "http-restricted")
    token = LambdaAuthorizer("allow", True, "TOKEN", sources=AUTHORIZATION, ttl=300)
    request = LambdaAuthorizer("admit", False, payload="2.0", is_simple=True, sources=AUTHORIZATION)
    rest = {"GET /key": Access(needs_api_key=True), "GET /token": Access(authorizer=token)}
    http = {
        "GET /request": Access(authorizer=request),
        "GET /jwt": Access(token=JwtAuthorizer(issuer.url, (AUDIENCE,))),
    }
    return [
        rest_api(
            ("rest-restricted",),
            {key: Endpoint(Route(key, "identity", prod), rest_v1, access=rest[key]) for key in rest},
        ),
        http_api(
            ("http-restricted",),
            {key: Endpoint(Route(key, "identity", stage), http_v2, access=http[key]) for key in http},
        ),
    ]


def sites():
    stage, prod = Stage("$default", "shop"), Stage("Prod", "rest", binary_media_types=["*/*"])
    rest = {key: Endpoint(Route(key, "web", prod), rest_v1) for key in ("ANY /", "ANY /{proxy+}")}
    signed = Access(needs_signature=True)
    signed_rest = Endpoint(Route("POST /pets", "identity", prod), rest_v1, access=signed)
    signed_http = Endpoint(Route("POST /pets", "identity", stage), http_v2, access=signed)
    return [
        rest_api(("rest",), rest),
        http_api(("old",), {"$default": Endpoint(Route("$default", "web", stage), http_v1)}),
        http_api(("http",), {"$default": Endpoint(Route("$default", "web", stage), http_v2)}),
        url_site(("web",), Endpoint(Route("$default", "web", stage), function_url)),
        load_balancer("single", TargetGroup(function="web")),
        load_balancer("multi", TargetGroup(has_multi_value_headers=True, function="web")),
        rest_api(("rest-signed",), {"POST /pets": signed_rest}),
        http_api(("http-signed",), {"POST /pets": signed_http}),
        url_site(("signed",), Endpoint(Route("$default", "identity", stage), function_url, access=signed)),
        *restricted_sites(),
    ]


def serve(functions, *, sites=sites, keys=KEYS, replay_guard=0, **options):
    """Return an application of functions and sites."""
    services = ("lambda", "execute-api") if keys else ()
    verifiers = {name: Verifier(keys, REGION, name, replay_guard=replay_guard) for name in services}

    def server(dispatcher):
        authorizers = Authorizers(dispatcher, (API_KEY,), tokens=Tokens())
        return SiteServer(Gateway(dispatcher, authorizers), locations=Locations(sites()), verifiers=verifiers)

    return Application(StaticFetcher(functions), sites=server, **options)


# A web application behind an adapter for Lambda


def flask_app():
    app = flask.Flask("shop")

    @app.get("/pets/<id>")
    def pet(id):
        return {"id": id, "color": flask.request.args.get("color"), "agent": flask.request.headers.get("X-Agent")}

    @app.post("/pets")
    def create():
        response = flask.jsonify(flask.request.get_json())
        response.status_code = 201
        response.set_cookie("a", "1")
        response.set_cookie("b", "2")
        return response

    @app.post("/upload")
    def upload():
        file = flask.request.files["file"]
        return {"name": file.filename, "size": len(file.read()), "note": flask.request.form["note"]}

    @app.post("/form")
    def form():
        return {"name": flask.request.form["name"]}

    @app.get("/image")
    def image():
        return flask.Response(PNG, mimetype="image/png")

    @app.get("/old")
    def old():
        return flask.redirect("/pets/1", 302)

    @app.get("/cookies")
    def cookies():
        return dict(flask.request.cookies)

    @app.get("/boom")
    def boom():
        raise RuntimeError("boom")

    return apig_wsgi.make_lambda_handler(app, binary_support=True)


web = flask_app()


# Functions and routes of a `Front`


def echo(event, context):
    return {"event": event, "id": context.aws_request_id}


def show(event, context):
    return {"statusCode": 200, "body": json.dumps(event)}


def fail(event, context):
    raise ValueError("boom")


def allow(event, context):
    effect = "Allow" if event["authorizationToken"] == PASSWORD else "Deny"
    statement = {"Effect": effect, "Action": "execute-api:Invoke", "Resource": event["methodArn"]}
    return {"principalId": "ada", "policyDocument": {"Version": "2012-10-17", "Statement": [statement]}}


def admit(event, context):
    return {"isAuthorized": event["identitySource"] == [PASSWORD], "context": {"principal": "ada"}}


FUNCTIONS = {
    "allow": allow,
    "admit": admit,
    "mint": lambda event, context: {"statusCode": 200, "body": issuer.token(AUDIENCE)},
    "web": web,
    "identity": lambda event, context: {"statusCode": 200, "body": repr(event["requestContext"])},
    "echo": echo,
    "fail": fail,
    "wrong": lambda event, context: {"statusCode": 700},
    "large": lambda event, context: {"statusCode": 200, "body": "x" * int(event["pathParameters"]["size"])},
    "empty": lambda event, context: {"statusCode": 204, "body": "not sent"},
    "created": lambda event, context: {
        "statusCode": 201,
        "headers": {"x-color": "red", "connection": "of the function"},
        "cookies": ["a=1", "b=2"],
        "body": base64.b64encode(b"\x00\xff").decode(),
        "isBase64Encoded": True,
    },
    "named": lambda event, context: {
        "statusCode": 200,
        "headers": {"content-disposition": "attachment; filename=日本.pdf", "x-name": "José", "set-cookie": "a=→"},
    },
}
ROUTES = [
    Route("GET /named", "named"),
    Route("GET /pets/{id}", "echo"),
    Route("ANY /echo/{proxy+}", "echo"),
    Route("POST /pets", "created"),
    Route("GET /large/{size}", "large"),
    Route("ANY /empty", "empty"),
    Route("GET /fail", "fail"),
    Route("GET /wrong", "wrong"),
    Route("GET /missing", "nobody"),
    Route("GET /version", "echo:7"),
    Route("GET /mint", "mint"),
]

application = serve(FUNCTIONS)
FRONT = "/front"  # the path of the front beside the sites
IMPATIENT = "/impatient"  # the path of an API that does not wait long for its function, which has its own process
pause = Function("pause.handler", code=str(isolated.FUNCTIONS / "web"), timeout=60)
impatient = Front(Application(StaticFetcher({"pause": pause})), [Route("GET /pause", "pause")], timeout=0.5)
everything = DispatcherMiddleware(application, {FRONT: Front(application, ROUTES), IMPATIENT: impatient})

prefixed = mounts.below("/a shop/here", everything)
__getattr__ = mounts.made_on_first_use(globals(), "/lambda", everything)  # in_flask and in_django
