"""The end of a request in received bytes."""

import pytest

from serverfull_wsgi.servers.gunicorn.framing import RequestFrame

pytestmark = pytest.mark.quick

LINE = b"POST / HTTP/1.1\r\nHost: x\r\n"
REQUESTS = {
    "no body": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "no fields": b"GET / HTTP/1.0\r\n\r\n",
    "a length": LINE + b"Content-Length: 5\r\n\r\n12345",
    "no length": LINE + b"Content-Length: 0\r\n\r\n",
    "the same length twice": LINE + b"content-length:3\r\nCONTENT-LENGTH: 3 \r\n\r\nabc",
    "a length in the body": LINE + b"Content-Length: 25\r\n\r\n\r\nContent-Length: 100\r\n\r\n",
    "a length in a value": LINE + b"X: Content-Length: 9\r\n\r\n",
    "chunks": LINE + b"Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\nA;x=y\r\n0\r\n\r\n67890\r\n0\r\n\r\n",
    "only the last chunk": LINE + b"Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
    "trailers": LINE + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n000\r\nX-A: b\r\nX-C: d\r\n\r\n",
    "chunks and a length": LINE + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_ends_after_its_last_byte(name):
    request = REQUESTS[name]
    frame = RequestFrame(1000)
    ends = [frame.end(request[:size]) for size in range(len(request) + 1)]
    assert ends == [None] * len(request) + [len(request)]


@pytest.mark.parametrize("name", REQUESTS)
def test_the_next_request_is_not_part_of_it(name):
    request = REQUESTS[name]
    assert RequestFrame(1000).end(bytearray(request + b"GET / HTTP/1.1\r\n\r\n")) == len(request)


@pytest.mark.parametrize(
    "malformed",
    [
        LINE + b"Content-Length: five\r\n\r\n",
        LINE + b"Content-Length: -5\r\n\r\n",
        LINE + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        LINE + b"Transfer-Encoding: chunked\r\n\r\nfive\r\n",
        LINE + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n12345",
        LINE + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 20 + b"\r\n",
        LINE + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 2000,
        LINE + b"X: " + b"x" * 2000,
        LINE + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: " + b"x" * 2000,
    ],
)
def test_a_malformed_request_is_not_waited_for(malformed):
    assert RequestFrame(1000).end(malformed) == len(malformed)


def test_a_client_that_waits_for_continue_is_noticed():
    frame = RequestFrame(1000)
    assert frame.end(LINE + b"Expect: 100-Continue\r\nContent-Length: 1\r\n\r\n") is None
    assert frame.expects_continue
