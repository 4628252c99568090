"""The operators' console: HTTP routes under `/serverfull/`.

The application adds these routes to its own if it is made with `admin=True`. They are not part of AWS's API, and a key
needs the action `operate` for them (`auth.principal`).

`events` reads the log of a queue that keeps one (`domain.EventLog`)::

    GET  /serverfull/events?state=failed&limit=50     one page, the latest event first
    GET  /serverfull/events/{id}                      one event with payload, result and records
    POST /serverfull/events/{id}/redrive              run a failed event again

Errors are those of AWS's API, rendered by the application like every other.
"""
