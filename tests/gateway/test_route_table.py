"""The rules of routing, as a table for each kind of API."""

import pytest

from serverfull_wsgi import ConfigurationError
from serverfull_wsgi.gateway.route_table import RouteTable

pytestmark = pytest.mark.quick


def found(kind, keys, request):
    return RouteTable({key: key for key in keys}, is_rest=kind == "REST").find(*request.split(" "))


PETS = ["GET /pets/dog/1", "GET /pets/dog/{id}", "GET /pets/{proxy+}", "ANY /pets/dog/{id}", "ANY /{proxy+}"]

BOTH = [  # routes, request, the route that matches
    (PETS, "GET /pets/dog/1", "GET /pets/dog/1"),
    (PETS, "GET /pets/dog/2", "GET /pets/dog/{id}"),
    (PETS, "PUT /pets/dog/1", "ANY /pets/dog/{id}"),
    (PETS, "GET /pets/cat/1", "GET /pets/{proxy+}"),
    (PETS, "PUT /pets/cat/1", "ANY /{proxy+}"),
    (PETS, "GET /", None),
    (["GET /"], "GET /", "GET /"),
    (["GET /"], "HEAD /", None),
    (["ANY /"], "HEAD /", "ANY /"),
    (["ANY /"], "PROPFIND /", None),
    (["GET /Pets"], "GET /pets", None),
    (["GET /pets/{id}"], "GET /pets/", None),
    (["GET /pets/{id}"], "GET /pets/a%2Fb", "GET /pets/{id}"),
    (["GET /a.b"], "GET /a%2Eb", "GET /a.b"),
    (["GET /{proxy+}"], "GET /a//b", "GET /{proxy+}"),
    (["POST /test", "OPTIONS /{proxy+}"], "OPTIONS /test", "OPTIONS /{proxy+}"),
    (["ANY /test", "OPTIONS /{proxy+}"], "OPTIONS /test", "ANY /test"),
    (["GET /part1/{x}/end", "GET /{proxy+}"], "GET /part1/nothing", "GET /{proxy+}"),
    (["GET /{a}/{b}/c", "GET /x/{rest+}"], "GET /x/y/c", "GET /x/{rest+}"),
    (["GET /x/y/z", "GET /{a}/y/w"], "GET /x/y/w", "GET /{a}/y/w"),
]


@pytest.mark.parametrize(("keys", "request_", "key"), BOTH)
@pytest.mark.parametrize("kind", ["REST", "HTTP"])
def test_a_request_matches_the_most_specific_route(kind, keys, request_, key):
    assert found(kind, keys, request_) == key


DIFFERENT = [  # routes, request, the route of a REST API, the route of an HTTP API
    (["GET /p"], "GET /p/", "GET /p", None),
    (["GET /p", "GET /{proxy+}"], "GET /p/", "GET /p", "GET /{proxy+}"),
    (["GET /p"], "GET //p", "GET /p", None),
    (["GET /p/{id}"], "GET /p/1/", "GET /p/{id}", None),
    (["GET /p/"], "GET /p", "GET /p/", None),
    (["GET /p/"], "GET /p/", "GET /p/", "GET /p/"),
]


@pytest.mark.parametrize(("keys", "request_", "rest", "http"), DIFFERENT)
def test_slashes_count_for_http_apis_only(keys, request_, rest, http):
    assert (found("REST", keys, request_), found("HTTP", keys, request_)) == (rest, http)


def test_the_default_route_of_an_http_api_takes_the_rest():
    keys = ["GET /pets", "$default"]
    assert [found("HTTP", keys, request) for request in ("GET /pets", "PUT /pets", "GET /", "PROPFIND /x/")] == [
        "GET /pets",
        *["$default"] * 3,
    ]


BAD_KEYS = {
    "get /pets": "has no method",
    "GET/pets": "has no method",
    "FETCH /pets": "has no method",
    "GET pets": "must begin with '/'",
    "GET ": "must begin with '/'",
    "GET /{proxy+}/x": "must be the last part",
    "GET /a{id}": "must be a whole variable",
    "GET /{id": "must be a whole variable",
    "GET /{}": "must be a whole variable",
    "GET /{a}/{a}": "two variables of one name",
    "GET /a?b=1": "must end with its path",
}


@pytest.mark.parametrize(("key", "message"), BAD_KEYS.items())
def test_a_key_that_no_api_could_have_is_refused(key, message):
    with pytest.raises(ConfigurationError, match=message):
        RouteTable({key: 1})


def test_rest_apis_have_no_default_route():
    with pytest.raises(ConfigurationError, match="has no method"):
        RouteTable({"$default": 1}, is_rest=True)


SAME = [("GET /{a}", "GET /{b}"), ("GET /x/{a+}", "GET /x/{b+}"), ("GET /a.b", "GET /a%2Eb")]


@pytest.mark.parametrize(("first", "second"), SAME)
def test_two_routes_for_the_same_requests_are_refused_with_both_names(first, second):
    with pytest.raises(ConfigurationError) as caught:
        RouteTable({first: 1, second: 2})
    assert repr(first) in str(caught.value)
    assert repr(second) in str(caught.value)


def test_rest_apis_take_a_path_with_and_without_a_slash_at_its_end_for_one():
    with pytest.raises(ConfigurationError, match="match the same requests"):
        RouteTable({"GET /p": 1, "GET /p/": 2}, is_rest=True)


def test_a_very_long_path_is_no_deeper_search_than_the_tree():
    table = RouteTable({"GET /a/{b}/{proxy+}": "deep"})
    assert table.find("GET", "/a" * 100_000) == "deep"
