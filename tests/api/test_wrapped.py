"""Applications inside of middleware are found."""

import functools

import pytest
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from serverfull_wsgi import Application, SigV4Middleware, StaticFetcher
from serverfull_wsgi.api.wrapped import applications_in
from tests.support import site

APPLICATION = Application(StaticFetcher({}))


def logged(application):
    """A middleware that is a function."""

    def call(environ, start_response):
        return application(environ, start_response)

    return call


def decorated(application):
    @functools.wraps(application)
    def call(environ, start_response):
        return []

    return call


class Middleware:
    """A middleware with the application in the attribute ``name``."""

    def __init__(self, name, application):
        setattr(self, name, application)

    def __call__(self, environ, start_response):
        return []


class Failing(Middleware):
    @property
    def app(self):
        raise RuntimeError("outside of a request")


def call_with(application, environ, start_response):
    return application(environ, start_response)


WRAPPERS = {
    "itself": APPLICATION,
    "ProxyFix": ProxyFix(APPLICATION),
    "signatures": SigV4Middleware(APPLICATION, {"key": "secret"}, "us-east-1"),
    "a dispatcher": DispatcherMiddleware(logged(None), {"/lambda": APPLICATION}),
    "a dispatcher's default": DispatcherMiddleware(APPLICATION, {}),
    "a closure": logged(APPLICATION),
    "functools.wraps": decorated(APPLICATION),
    "functools.partial": functools.partial(call_with, APPLICATION),
    "a bound method": APPLICATION.__call__,
    "many layers": ProxyFix(logged(functools.partial(call_with, Middleware("application", APPLICATION)))),
    "the attribute of its own": Middleware("serverfull_application", APPLICATION),
    "an attribute of this name": Middleware("serverfull.application", APPLICATION),
    "a property that raises": Failing("application", APPLICATION),
}


@pytest.mark.parametrize("wsgi", WRAPPERS.values(), ids=WRAPPERS)
def test_the_application_inside_is_found(wsgi):
    assert applications_in(wsgi) == [APPLICATION]


@pytest.mark.parametrize("wsgi", [site.in_flask, site.in_django], ids=["Flask", "Django"])
def test_the_application_mounted_in_a_framework_is_found(wsgi):
    assert applications_in(wsgi) == [site.application]


def test_each_mounted_application_is_found_once():
    first, second = Application(StaticFetcher({})), Application(StaticFetcher({}))
    wsgi = DispatcherMiddleware(first, {"/a": logged(first), "/b": second})
    assert applications_in(wsgi) == [first, second]


class Endless:
    """An object with new objects in each attribute."""

    def __call__(self, environ, start_response):
        return []

    def __getattr__(self, name):
        return Endless()


CALLABLES = {"None": None, "print": print, "class": Application, "endless": Endless(), "function": logged(None)}


@pytest.mark.parametrize("wsgi", CALLABLES.values(), ids=CALLABLES)
def test_a_callable_without_an_application_has_none(wsgi):
    assert applications_in(wsgi) == []


def test_middlewares_that_contain_each_other_end_the_search():
    first = Middleware("app", None)
    first.app = Middleware("app", first)
    assert applications_in(first) == []
