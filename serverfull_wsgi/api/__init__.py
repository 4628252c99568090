"""AWS's Lambda API over HTTP.

A request passes these steps::

    WSGI server
        │
    Application.__call__      the first request opens the parts of this process
        │
    authentication            a WSGI middleware, if there is one; it sets the principal
        │
    Application._respond      route: Invoke without a router (the hot path), health check, a werkzeug rule, or else
        │                     an operation of AWS's service model (`operations`, `management`)
        │                     a ServiceError is rendered here, and any other exception as a 500 ServiceException
    Invoke, InvokeAsync       limits, headers, name; authorize; then the dispatcher
        │
    response                  200 with the function's bytes, also if the function failed; 202; 204; or an AWS error

The life of an application, in each process::

     ┌─ error ─┐
     ▼         │
    new ── start() ──▶ open ── close() ──▶ closed
     │                                       ▲
     └───────────────── close() ─────────────┘

- `start` opens metrics, executor and queue, in this order. If one fails, the request fails with a 500, and the next
  request continues with this part. A part is never started twice in a process.
- `close` closes the open parts in the reverse order, each even if another one fails. It is final, for the application
  and for its parts. Requests in progress go on, and the parts refuse them if they cannot serve them any more.
- A forked child is new, also if its parent is open or closed.

An operation is a WSGI application that reads its path values from `environ["wsgiorg.routing_args"]` and raises
`ServiceError`. `invoke` has the two operations that run functions. All others are in `management`, and `operations`
serves them.
"""
