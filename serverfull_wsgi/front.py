"""Functions behind plain HTTP: one API at the root of a WSGI server.

>>> from serverfull_wsgi import Application, StaticFetcher
>>> application = Application(StaticFetcher({"pets": lambda event, context: event["pathParameters"]["id"]}))
>>> front = Front(application, routes=[Route("GET /pets/{id}", "pets")])

``gunicorn module:front`` then answers ``GET /pets/7`` with ``7``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from serverfull_wsgi.api.application import Application
from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.fetchers.abilities import has_deployed_functions
from serverfull_wsgi.gateway.formats import Route, http_v2
from serverfull_wsgi.gateway.front import SiteServer
from serverfull_wsgi.gateway.gateway import Gateway
from serverfull_wsgi.gateway.missing_functions import missing_functions
from serverfull_wsgi.gateway.requests import parse_proxies
from serverfull_wsgi.gateway.sites import Endpoint, http_api
from serverfull_wsgi.protocols import is_listable
from serverfull_wsgi.servers.gunicorn.start import load_app
from serverfull_wsgi.settings.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    app: Application

__all__ = ["Front", "Route", "app"]


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = load_app(Settings.at_root)
    return value


class Front:
    """A WSGI application that serves one HTTP API, with the payload 2.0 and the stage ``$default``, under every path.

    A route to a function that does not exist has a warning, if the application's fetcher can list its functions. The
    Lambda API of the application is not served: a public route never reaches it. Requests to the routes need no
    authentication; a middleware around the front can restrict them.

    Args:
        application: has the functions.
        routes: the routes, each with its function, such as ``Route("GET /pets/{id}", "pets")``.
        trusted_proxies: addresses and networks of proxies whose X-Forwarded headers count, such as ``10.0.0.0/8``.
        timeout: seconds after which the API answers in the place of a function; None for AWS's 30, 0 for no limit.

    Raises:
        ConfigurationError: for a route that no API could have, for two routes that match the same requests, and for a
            route without a function.
    """

    def __init__(
        self,
        application: Application,
        routes: Iterable[Route],
        *,
        trusted_proxies: Iterable[str] = (),
        timeout: float | None = None,
    ) -> None:
        self.serverfull_application = application  # for the hooks of a server
        site, fetcher = http_api(("routes",), _endpoints(routes)), application.dispatcher.fetcher
        if is_listable(fetcher) and not has_deployed_functions(fetcher):  # others may get the function later
            for line in missing_functions([site], fetcher):
                application.dispatcher.logger.warning("%s", line)
        self._server = SiteServer(
            Gateway(application.dispatcher, timeout=timeout),
            application.start,
            root=site,
            proxies=parse_proxies(trusted_proxies),
        )

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self._server(environ, start_response)

    def urls(self, origin: str) -> list[str]:
        """Return a line for each route: its method and its URL below ``origin``, such as ``http://127.0.0.1:8080``."""
        return self._server.urls(origin)


def _endpoints(routes: Iterable[Route]) -> dict[str, Endpoint]:
    endpoints: dict[str, Endpoint] = {}
    for route in routes:
        if not route.function:
            raise ConfigurationError(f"route {route.key!r} has no function; write Route({route.key!r}, 'NAME')")
        if route.key in endpoints:
            raise ConfigurationError(f"there are two routes {route.key!r}; remove one")
        endpoints[route.key] = Endpoint(route, http_v2, http_v2.TIMEOUT)
    return endpoints
