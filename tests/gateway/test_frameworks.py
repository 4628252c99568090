"""Web frameworks behind each kind of site: their own adapters for Lambda read the events, and write the results.

Each application has the same routes, so one table of requests is the judge of all of them.
"""

import asyncio
import io
import os
import shutil
from pathlib import Path
from typing import Annotated

import pytest

from serverfull_wsgi import ChoosingExecutor, Function, InProcessExecutor, ProcessExecutor
from tests.support import gateway_hosts, gateway_site
from tests.support.gateway_site import PATHS, PNG
from tests.support.isolated import FUNCTIONS


def fastapi_app():
    fastapi = pytest.importorskip("fastapi")
    pytest.importorskip("multipart")
    mangum = pytest.importorskip("mangum")
    responses = pytest.importorskip("fastapi.responses")
    app = fastapi.FastAPI()

    @app.get("/pets/{id}")
    async def pet(id, request: fastapi.Request, color=None):
        return {"id": id, "color": color, "agent": request.headers.get("X-Agent")}

    @app.post("/pets", status_code=201)
    async def create(request: fastapi.Request, response: fastapi.Response):
        response.set_cookie("a", "1")
        response.set_cookie("b", "2")
        return await request.json()

    @app.post("/upload")
    async def upload(file: fastapi.UploadFile, note: Annotated[str, fastapi.Form()]):
        return {"name": file.filename, "size": len(await file.read()), "note": note}

    @app.post("/form")
    async def form(name: Annotated[str, fastapi.Form()]):
        return {"name": name}

    @app.get("/image")
    async def image():
        return responses.Response(PNG, media_type="image/png")

    @app.get("/old")
    async def old():
        return responses.RedirectResponse("/pets/1", 302)

    @app.get("/cookies")
    async def cookies(request: fastapi.Request):
        return request.cookies

    @app.get("/boom")
    async def boom():
        return responses.PlainTextResponse("boom", 500)

    return mangum.Mangum(app, lifespan="off")


def node_app(module, package):
    """A function of Node.js, if npm's packages for it are there; .ci/run installs them."""
    if not shutil.which("node") or not (NODE_MODULES / package).is_dir():
        pytest.skip(f"node and npm's package {package} are not both installed")
    return Function(f"{module}.handler", code=str(FUNCTIONS / "web"), runtime="nodejs20.x", timeout=60)


APPS = {
    "Mangum and FastAPI": fastapi_app,
    "serverless-http and Express": lambda: node_app("express_app", "serverless-http"),
    "Hono": lambda: node_app("hono_app", "hono"),
}
NODE_MODULES = Path(os.environ.get("SERVERFULL_TEST_NODE_MODULES", "/nonexistent"), "node_modules")
ONE_COOKIE = ("ALB",)  # without multi-value headers a result has one value for each header


@pytest.fixture(scope="module", autouse=True)
def event_loop_of_the_thread():
    """Mangum asks for the current event loop, as in a process of Lambda, where none was made before."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


@pytest.fixture(scope="module", params=[*gateway_hosts.NAMES, *APPS])
def host(request, sites_in):
    """Return Flask behind apig-wsgi in one of the hosts, or another framework in this process."""
    if request.param not in APPS:
        yield sites_in(request.param)
        return
    web = APPS[request.param]()
    isolated = ProcessExecutor(node_modules=str(NODE_MODULES))
    executor = ChoosingExecutor(InProcessExecutor(), isolated) if isinstance(web, Function) else None
    application = gateway_site.serve({"web": web, "identity": web}, executor=executor)
    yield gateway_hosts.Host("", application)
    application.close()


@pytest.fixture(params=PATHS)
def kind(request):
    return request.param


@pytest.fixture
def client(host, kind):
    return host.client(PATHS[kind])


def test_path_query_and_headers_reach_the_application(client):
    response = client.get("/pets/a%20b?color=light%20red", headers={"X-Agent": "me"})
    assert (response.status_code, response.json) == (200, {"id": "a b", "color": "light red", "agent": "me"})
    assert response.headers["Content-Type"].startswith("application/json")


def test_json_is_accepted_and_cookies_are_set(client, kind):
    response = client.post("/pets", json={"name": "Ada ƛ"})
    assert (response.status_code, response.json) == (201, {"name": "Ada ƛ"})
    cookies = [cookie.partition(";")[0] for cookie in response.headers.getlist("Set-Cookie")]
    assert sorted(cookies) == ["a=1", "b=2"] or kind in ONE_COOKIE


def test_a_file_is_uploaded(client):
    response = client.post("/upload", data={"file": (io.BytesIO(PNG), "dog.png"), "note": "ƛ"})
    assert (response.status_code, response.json) == (200, {"name": "dog.png", "size": len(PNG), "note": "ƛ"})


def test_a_form_is_sent(client):
    response = client.post("/form", data={"name": "Ada & Bob"})
    assert (response.status_code, response.json) == (200, {"name": "Ada & Bob"})


def test_an_image_comes_back(client):
    response = client.get("/image", headers={"Accept": "image/png"})
    assert (response.status_code, response.data) == (200, PNG)
    assert response.headers["Content-Type"] == "image/png"


def test_a_redirect_is_sent(client):
    response = client.get("/old")
    assert (response.status_code, response.headers["Location"]) == (302, "/pets/1")


def test_cookies_are_read(client):
    assert client.get("/cookies", headers={"Cookie": "a=1; b=2"}).json == {"a": "1", "b": "2"}


@pytest.mark.parametrize(("path", "status"), [("/nothing", 404), ("/boom", 500)])
def test_errors_of_the_application_are_its_own(path, status, client):
    assert client.get(path).status_code == status


def test_head_has_no_body(client):
    response = client.head("/pets/1")
    assert (response.status_code in (200, 405), response.data) == (True, b"")


# Powertools has a resolver for each kind

RESOLVERS = {
    "REST": "APIGatewayRestResolver",
    "H1": "APIGatewayRestResolver",
    "H2": "APIGatewayHttpResolver",
    "URL": "LambdaFunctionUrlResolver",
    "ALB": "ALBResolver",
    "ALB+": "ALBResolver",
}


def test_powertools_resolves_routes_of_its_kind(kind):
    handlers = pytest.importorskip("aws_lambda_powertools.event_handler")
    app = getattr(handlers, RESOLVERS[kind])()

    @app.get("/pets/<id>")
    def pet(id):
        return {"id": id, "color": app.current_event.resolved_query_string_parameters["color"]}

    @app.post("/pets")
    def create():
        return app.current_event.json_body, 201

    application = gateway_site.serve({"web": app.resolve})
    client = gateway_hosts.Host("", application).client(PATHS[kind])
    assert client.get("/pets/7?color=red").json == {"id": "7", "color": ["red"]}
    response = client.post("/pets", json={"name": "Ada"})
    assert (response.status_code, response.json) == (201, {"name": "Ada"})
    assert client.get("/nothing").status_code == 404
