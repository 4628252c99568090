"""HTTP requests of the gateway: from a WSGI environ to an `HttpRequest`, with the client's own address.

A proxy in front of the server passes the client's address, scheme and port on in X-Forwarded headers. A client can send
these headers too. So they count only if the peer is a trusted proxy, and the last address in X-Forwarded-For that is
not a trusted proxy is the client. Earlier addresses are the client's own statements. They stay in the event, as on AWS.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, NamedTuple

from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.gateway.formats import HttpRequest
from serverfull_wsgi.gateway.formats.parts import title_case
from serverfull_wsgi.settings.settings import is_process_variable

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

Networks = tuple[IPv4Network | IPv6Network, ...]


class Client(NamedTuple):
    """The client of a request.

    Args:
        address: the client's IP address.
        forwarded_for: the addresses that X-Forwarded-For has before it.
        scheme: ``"https"`` or ``"http"``.
        port: the port that the client connected to.
    """

    address: str
    forwarded_for: str
    scheme: str
    port: int


def parse_proxies(values: Iterable[str]) -> Networks:
    """Return the networks of trusted proxies: addresses and networks, such as ``10.0.0.0/8``.

    Raises `ConfigurationError` for anything else.
    """
    networks = []
    for value in values:
        try:
            networks.append(ip_network(value))
        except ValueError as error:
            raise ConfigurationError(
                f"trusted proxy {value!r} is not an address or network: {error}; write one such as 10.0.0.0/8"
            ) from None
    return tuple(networks)


def request_of(environ: WSGIEnvironment, path: str, proxies: Networks) -> HttpRequest:
    """Return the request without its body.

    WSGI does not pass on the spelling and the order of headers. They are spelled as HTTP/1.1 clients write them.

    Args:
        environ: the WSGI environ.
        path: the path, percent-encoded, below the place where the gateway serves the site.
        proxies: the networks of trusted proxies.
    """
    if environ.get("SERVER_SOFTWARE") == "Granian":
        environ = _without_variables(environ)
    client = client_of(environ, proxies)
    headers = [(name, value.strip(" \t")) for key, value in environ.items() if (name := _header_name(key))]
    if content_type := environ.get("CONTENT_TYPE"):
        headers.append(("Content-Type", content_type))
    if content_length := environ.get("CONTENT_LENGTH"):
        headers.append(("Content-Length", content_length))
    if client.forwarded_for:
        headers.append(("X-Forwarded-For", client.forwarded_for))
    method, query = environ["REQUEST_METHOD"].upper(), environ.get("QUERY_STRING", "")
    protocol = environ.get("SERVER_PROTOCOL", "HTTP/1.1")
    body, host = b"", ""  # the body is read later; the host is among the headers
    # arguments by name would cost 0.5 µs
    return HttpRequest(method, path, query, headers, body, client.address, host, client.scheme, client.port, protocol)


def _without_variables(environ: WSGIEnvironment) -> WSGIEnvironment:
    """Return an environ without the variables of the process, which the command granian copies into it.

    A variable such as HTTP_PROXY, which may contain a password, would be a header of each event.
    """
    return {key: value for key, value in environ.items() if not is_process_variable(key, value)}


@lru_cache(maxsize=256)  # keys of environs are few, and a client's own may have 8 KB
def _header_name(key: str) -> str:
    """Return the name of a header that an environ has under ``key``; empty for other keys, and X-Forwarded-For."""
    if not key.startswith("HTTP_") or key == "HTTP_X_FORWARDED_FOR":
        return ""
    return title_case(key[5:].replace("_", "-"))


def client_of(environ: WSGIEnvironment, proxies: Networks) -> Client:
    """Return the client of a request.

    >>> environ = {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": "192.0.2.1, 192.0.2.7, 10.0.0.2"}
    >>> client_of(environ, parse_proxies(["10.0.0.0/8"]))[:2]
    ('192.0.2.7', '192.0.2.1')
    >>> client_of(environ, ())[:2]
    ('10.0.0.1', '192.0.2.1, 192.0.2.7, 10.0.0.2')
    """
    peer = environ.get("REMOTE_ADDR") or "127.0.0.1"  # a unix socket has no address
    scheme = str(environ.get("wsgi.url_scheme", "http"))
    port = _port(environ.get("SERVER_PORT", ""), scheme)
    sent = environ.get("HTTP_X_FORWARDED_FOR", "")
    if not _is_trusted(peer, proxies):
        return Client(peer, sent, scheme, port)
    addresses = [address.strip() for address in sent.split(",") if address.strip()]
    while addresses and _is_trusted(addresses[-1], proxies):
        peer = addresses.pop()
    if addresses and _is_address(addresses[-1]):
        peer = addresses.pop()
    forwarded = environ.get("HTTP_X_FORWARDED_PROTO", "").rpartition(",")[2].strip().lower()
    scheme = forwarded if forwarded in ("http", "https") else scheme
    port = _port(environ.get("HTTP_X_FORWARDED_PORT", "").rpartition(",")[2].strip(), scheme)
    return Client(peer, ", ".join(addresses), scheme, port)


def _port(text: str, scheme: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 5:
        return int(text)
    return 443 if scheme == "https" else 80


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_trusted(text: str, proxies: Networks) -> bool:
    if not proxies or not _is_address(text):
        return False
    address = ip_address(text)
    address = getattr(address, "ipv4_mapped", None) or address  # as a listener of both kinds reports an IPv4 peer
    return any(address in network for network in proxies)
