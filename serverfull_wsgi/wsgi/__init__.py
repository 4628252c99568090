"""Requests and responses, for all WSGI packages of this project.

`requests` reads a WSGI environ, `responses` calls `start_response`. Neither imports anything about functions, so the
Lambda API, the operators' console and the signature check share them.

The path. PATH_INFO is percent-decoded by the server, and `%2F` and `/` look the same in it::

    request line      POST /lambda/2015-03-31/functions/a%2Fb/invocations HTTP/1.1
    SCRIPT_NAME       /lambda
    PATH_INFO         /2015-03-31/functions/a/b/invocations
    sent_path()       /lambda/2015-03-31/functions/a%2Fb/invocations        clients sign this path
    raw_path()        /2015-03-31/functions/a%2Fb/invocations               routes match it, then it is decoded once

The body. `read_body` reads at most the operation's limit, and one byte more if the length is unknown. A body over the
limit is refused, and up to `MAX_DISCARDED` bytes of the rest are read and dropped (`discard_body`): a client that is
still sending does not read its response.

Ids. `new_request_id` and `trace_id` make them from random digits. A forked child never uses an id of its parent.

A `ServiceError` is rendered here once, as AWS renders errors.
"""
