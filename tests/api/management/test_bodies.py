"""Bodies of packages: large ones are in files, their size is bounded, and no place is lost."""

import contextlib
import io

import pytest

from serverfull_wsgi.errors import InvalidRequestContentException
from serverfull_wsgi.wsgi.bodies import PIECE, PLACES, FileBody, content_of, digest_of, open_body
from serverfull_wsgi.wsgi.requests import PAYLOAD_LIMIT, TooLarge
from tests.support.management import full_of_bodies

pytestmark = pytest.mark.quick

LIMIT = PAYLOAD_LIMIT + 1000
LARGE = bytes(PAYLOAD_LIMIT + 1)


def environ(body, length=None, **more):
    declared = {} if length is None else {"CONTENT_LENGTH": str(length)}
    return {"wsgi.input": io.BytesIO(body), **declared, **more}


def free_places():
    """Return the number of pieces of bodies that could be in files now."""
    with full_of_bodies() as size:
        return size // PIECE


@pytest.mark.parametrize("terminated", [True, False], ids=["in chunks", "with a length"])
@pytest.mark.parametrize("body", [b"", b"{}", bytes(PAYLOAD_LIMIT), LARGE, bytes(LIMIT)], ids=len)
def test_a_body_within_the_limit_is_read_whole(body, terminated):
    request = environ(body, **{"wsgi.input_terminated": True}) if terminated else environ(body, len(body))
    with open_body(request, LIMIT) as read:
        assert isinstance(read, FileBody) is (len(body) > PAYLOAD_LIMIT)
        digest_of(read)
        content = content_of(read)
        assert (len(content), bytes(content[:5])) == (len(body), body[:5])
        del content
    assert free_places() == PLACES


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (environ(bytes(LIMIT + 1), LIMIT + 1), TooLarge),
        (environ(bytes(LIMIT + 1), **{"wsgi.input_terminated": True}), TooLarge),
        (environ(LARGE[:-1], len(LARGE)), InvalidRequestContentException),  # the client disconnected
        (environ(b"", "1e3"), InvalidRequestContentException),
    ],
    ids=["a length over the limit", "chunks over the limit", "a body that breaks off", "no number"],
)
def test_a_body_that_is_refused_holds_no_place(request_, error):
    with pytest.raises(error):
        open_body(request_, LIMIT)
    assert free_places() == PLACES


def test_a_body_is_read_twice_from_one_file():
    request = environ(LARGE, len(LARGE))
    first = request["wsgi.input"] = open_body(request, LIMIT)
    assert open_body(request, LIMIT) is first
    first.close()
    first.close()
    assert free_places() == PLACES


def test_a_client_that_sends_slowly_takes_no_room_from_the_others():
    """A place counts a piece that has arrived, not the length that a client has declared."""
    with contextlib.ExitStack() as slow:
        for _ in range(20):
            slow.enter_context(FileBody()).write(b"a")
        with open_body(environ(LARGE, len(LARGE)), LIMIT) as body:
            assert isinstance(body, FileBody)
