"""Spellings of a path: requests that match an open route, and that a function may take for requests to a closed one.

A route matches a path as the client sent it, segment by segment, as on AWS. A web framework behind the route decodes
the path, and may merge slashes, resolve dots, or ignore a slash at the end. In JavaScript, ``new URL(path, …)`` also
takes a backslash for a slash, drops tabs and line breaks, and ends the path at ``?`` and ``#``::

    GET /admin/{id}      needs an authorizer
    ANY /{proxy+}        open

    GET /admin/7         the first route
    GET /admin%2F7       the second route: its function receives /admin/7, and the authorizer has not run

AWS lets such a request through. Here it is refused, if the route of another spelling has a condition that the matching
route does not have. Requests that a stricter route could not have are answered as on AWS.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from urllib.parse import unquote

from serverfull_wsgi.gateway.formats.http_api import decoded_path
from serverfull_wsgi.gateway.sites import Endpoint, Site

_unusual = re.compile(r"[%\\#?\x00-\x20]|//|/\.|(?<=.)/\Z")  # a path without these has one spelling
_end = re.compile(r"[?#]|[\x00-\x20]+\Z")  # of the path in a URL
_dots = re.compile(r"/\.\.?(?:/|\Z)")


def stricter_route(site: Site, endpoint: Endpoint, method: str, path: str) -> str:
    """Return the key of a route with more conditions that another spelling of the path has; an empty text without one.

    Args:
        site: the site of the request. If its routes have the same conditions (`Site.is_mixed`), none is stricter.
        endpoint: the end of the route that the request matches.
        method: the method of the request.
        path: the path, percent-encoded, without the stage and the query.
    """
    if not (site.has_slash_at_end or is_unusual(path)):
        return ""
    for spelling in dict.fromkeys(spellings(path)):
        other = site.find(method, spelling)
        if other is not None and not endpoint.access.includes(other.access):
            return str(other.route.key)
    return ""


def is_unusual(path: str) -> bool:
    """Return whether a path may have other spellings.

    >>> is_unusual("/pets/7"), is_unusual("/pets//7")
    (False, True)
    """
    return _unusual.search(path) is not None


def has_dots(path: str) -> bool:
    """Return whether a decoded path has segments that a function may resolve.

    >>> has_dots("/a/../b"), has_dots("/a\\\\.."), has_dots("/a..b/.c")
    (True, True, False)
    """
    return _dots.search(_in_url(path)) is not None


def spellings(path: str) -> Iterator[str]:
    """Yield the paths that a function may see in the place of a path.

    Each path comes without a slash at its end, and then with one. Paths may come more than once.

    >>> list(dict.fromkeys(spellings("/a//./b/")))
    ['/a/b', '/a/b/']
    """
    for text in (unquote(path), decoded_path(path), path):
        for form in (text, _in_url(text)):
            for resolved in dict.fromkeys((form, _without_dots(form))):
                normal = posixpath.normpath("/" + resolved.lstrip("/"))
                yield normal
                yield normal.rstrip("/") + "/"


def _without_dots(path: str) -> str:
    """Return a path with its dots resolved and empty segments kept, by RFC 3986, 5.2.4.

    >>> _without_dots("/a/b//../c/./d")
    '/a/b/c/d'
    """
    segments: list[str] = []
    for segment in path.split("/")[1:]:
        if segment == "..":
            del segments[-1:]
        elif segment != ".":
            segments.append(segment)
    return "/" + "/".join(segments)


def _in_url(path: str) -> str:
    """Return the path of a URL that has a decoded path as its text, by WHATWG's URL standard."""
    text = path.replace("\t", "").replace("\n", "").replace("\r", "").replace("\\", "/")
    end = _end.search(text)
    return text[: end.start()] if end else text
