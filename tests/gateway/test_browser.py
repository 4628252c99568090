"""A browser behind the gateway: CORS, cookies, forms and uploads, as Chromium does them."""

import json
import shutil
import threading
from contextlib import contextmanager
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

pytest.importorskip("playwright")

from playwright import sync_api

from serverfull_wsgi import Application, StaticFetcher
from serverfull_wsgi.gateway.cors import Cors
from serverfull_wsgi.gateway.formats import Route, Stage, function_url, http_v2, rest_v1
from serverfull_wsgi.gateway.front import SiteServer
from serverfull_wsgi.gateway.gateway import Gateway
from serverfull_wsgi.gateway.locations import Locations
from serverfull_wsgi.gateway.sites import Endpoint, FixedAnswer, http_api, rest_api
from serverfull_wsgi.gateway.sites import function_url as url_site
from tests.support import gateway_site
from tests.support.gateway_site import PNG

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed; .ci/run installs it")
PAGE = b"<!doctype html><title>shop</title><form method=post action=/form enctype=multipart/form-data></form>"


class Quiet(WSGIRequestHandler):
    def log_message(self, *args):
        pass


@contextmanager
def listening(app):
    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def web(event, context):
    http = event.get("requestContext", {}).get("http", {})
    method = event.get("httpMethod") or http.get("method")
    if method == "GET" and event.get("rawPath") == "/page":
        return {"statusCode": 200, "headers": {"Content-Type": "text/html"}, "body": PAGE.decode()}
    return {
        "statusCode": 200,
        "headers": {"Content-Type": "text/plain", "Access-Control-Allow-Origin": "https://evil.example", "X-Seen": "1"},
        "cookies": ["seen=1; Path=/"],
        "body": f"{method} {event.get('headers', {}).get('x-flag', '')} {'; '.join(event.get('cookies', []))}",
    }


def plain(event, context):
    return {"statusCode": 200, "headers": {"Access-Control-Allow-Origin": "*"}, "body": event["httpMethod"]}


def page(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/html")])
    return [PAGE]


@pytest.fixture(scope="module")
def served():
    """The origin of the pages, and that of the sites: `allowed` lets pages of this origin in, `other` does not."""
    application = Application(StaticFetcher({"web": web, "plain": plain, "shop": gateway_site.web}))
    with listening(page) as pages:
        stage = Stage("$default", "shop")
        headers = {
            "methods": ("PUT", "GET", "POST"),
            "headers": ("x-flag", "content-type"),
            "exposed_headers": ("x-seen",),
        }
        mine, other = Cors((pages,), is_credentialed=True, **headers), Cors(("https://other.example",), **headers)
        endpoints = {"$default": Endpoint(Route("$default", "web", stage), http_v2)}
        preflight = (("Access-Control-Allow-Origin", "*"), ("Access-Control-Allow-Methods", "PUT"))
        rest = {
            "PUT /": Endpoint(Route("PUT /", "plain", Stage("Prod", "rest")), rest_v1),
            "OPTIONS /": Endpoint(
                Route("OPTIONS /", stage=Stage("Prod", "rest")), rest_v1, fixed=FixedAnswer(200, preflight)
            ),
        }
        shop = Endpoint(Route("$default", "shop", Stage("$default", "shop")), function_url)
        sites = [
            url_site(("shop",), shop),
            http_api(("allowed",), endpoints, cors=mine),
            http_api(("other",), endpoints, cors=other),
            http_api(("none",), endpoints),
            url_site(("allowed",), Endpoint(Route("$default", "web", stage), function_url), cors=mine),
            rest_api(("rest",), rest),
        ]
        server = SiteServer(Gateway(application.dispatcher), application.start, locations=Locations(sites))
        with listening(server) as origin:
            yield pages, origin
    application.close()


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def tab(browser, served):
    context = browser.new_context()
    page = context.new_page()
    page.goto(served[0])
    yield page
    context.close()


def fetched(tab, url, **options):
    """Return text and visible header of a page's request, or the name of its error."""
    script = """async ([url, options]) => {
      try {
        const answer = await fetch(url, options);
        return [await answer.text(), answer.headers.get("x-seen")];
      } catch (error) { return error.name; }
    }"""
    return tab.evaluate(script, [url, options])


ALLOWED = ["/_aws/execute-api/allowed/$default/", "/_aws/lambda-url/allowed/"]


@pytest.mark.parametrize("path", ALLOWED)
def test_a_page_of_an_allowed_origin_reads_answers_and_exposed_headers(path, tab, served):
    assert fetched(tab, served[1] + path) == ["GET  ", "1"]


@pytest.mark.parametrize("path", ALLOWED)
def test_a_preflight_lets_methods_and_headers_through(path, tab, served):
    assert fetched(tab, served[1] + path, method="PUT", headers={"X-Flag": "on"}) == ["PUT on ", "1"]
    assert fetched(tab, served[1] + path, method="DELETE") == "TypeError"
    assert fetched(tab, served[1] + path, headers={"X-Other": "1"}) == "TypeError"


@pytest.mark.parametrize("path", ALLOWED)
def test_cookies_of_a_credentialed_request_come_back(path, tab, served):
    options = {"credentials": "include"}
    assert fetched(tab, served[1] + path, **options)[0] == "GET  "
    assert fetched(tab, served[1] + path, **options)[0] == "GET  seen=1"


@pytest.mark.parametrize("path", ["/_aws/execute-api/other/$default/", "/_aws/execute-api/none/$default/"])
def test_a_page_of_another_origin_reads_nothing(path, tab, served):
    assert fetched(tab, served[1] + path) == "TypeError"
    assert fetched(tab, served[1] + path, method="PUT") == "TypeError"


def test_a_rest_api_answers_preflights_and_its_function_sends_the_header(tab, served):
    url = f"{served[1]}/_aws/execute-api/rest/Prod/"
    assert fetched(tab, url, method="PUT") == ["PUT", None]
    assert fetched(tab, url, method="DELETE") == "TypeError"


def test_a_form_with_a_file_reaches_the_function(tab, served):
    script = """async (url) => {
      const form = new FormData();
      form.append("note", "ƛ");
      form.append("file", new Blob([new Uint8Array([0, 255])]), "dog.png");
      return (await fetch(url, {method: "POST", body: form})).status;
    }"""
    assert tab.evaluate(script, served[1] + ALLOWED[0]) == 200


# A whole application, under a host of its own: Chromium knows that names below localhost are this machine


@pytest.fixture
def shop(served):
    """Return the URL of a Flask application behind a function URL."""
    return f"http://shop.lambda-url.localhost:{served[1].rpartition(':')[2]}"


def show_form(tab, action, fields, enctype="multipart/form-data"):
    form = f'<form method=post accept-charset=utf-8 enctype="{enctype}" action="{action}">'
    tab.set_content(f"{form}{fields}<button>Send</button></form>")


def test_a_form_uploads_a_binary_file(tab, shop):
    show_form(tab, f"{shop}/upload", "<input type=file name=file><input name=note value=ƛ>")
    file = {"name": "dog.png", "mimeType": "image/png", "buffer": bytes(range(256)) * 4000}
    tab.set_input_files("input[type=file]", file)
    tab.click("button")
    tab.wait_for_url(f"{shop}/upload")
    assert json.loads(tab.inner_text("body")) == {"name": "dog.png", "size": 1_024_000, "note": "ƛ"}


def test_a_form_of_text_is_sent(tab, shop):
    show_form(tab, f"{shop}/form", '<input name=name value="Ada &amp; ƛ">', "application/x-www-form-urlencoded")
    tab.click("button")
    tab.wait_for_url(f"{shop}/form")
    assert json.loads(tab.inner_text("body")) == {"name": "Ada & ƛ"}


def test_a_redirect_is_followed(tab, shop):
    tab.goto(f"{shop}/old")
    assert (tab.url, json.loads(tab.inner_text("body"))["id"]) == (f"{shop}/pets/1", "1")


def test_an_image_is_shown(tab, shop):
    tab.goto(f"{shop}/pets/1")
    script = "async () => [...new Uint8Array(await (await fetch('/image')).arrayBuffer())]"
    assert bytes(tab.evaluate(script)) == PNG


def test_cookies_of_an_answer_are_kept(tab, shop):
    tab.goto(f"{shop}/pets/1")
    options = {"method": "POST", "body": "{}", "headers": {"Content-Type": "application/json"}}
    assert tab.evaluate("async (options) => (await fetch('/pets', options)).status", options) == 201
    tab.goto(f"{shop}/cookies")
    assert json.loads(tab.inner_text("body")) == {"a": "1", "b": "2"}


@pytest.mark.parametrize("path", ALLOWED)
def test_a_preflight_comes_before_a_request_with_credentials(path, tab, served):
    options = {"credentials": "include", "method": "PUT", "headers": {"X-Flag": "on"}}
    assert fetched(tab, served[1] + path, **options) == ["PUT on ", "1"]
    assert fetched(tab, served[1] + path, **options) == ["PUT on seen=1", "1"]


def test_a_page_of_a_function_is_shown(browser, served):
    tab = browser.new_page()
    tab.goto(f"{served[1]}/_aws/lambda-url/allowed/page")
    assert tab.title() == "shop"
    tab.close()
