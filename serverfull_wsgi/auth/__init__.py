"""Authentication and authorization of HTTP requests.

Authentication is a WSGI middleware around the application. It puts the caller into the environ::

    request ──▶ sigv4.SigV4Middleware ──▶ environ["serverfull.principal"]: Principal ──▶ Application
                     │                                                                       │
                credentials: access key id → Credential                   authorize(environ, action, function)

- `credentials`: the secret and the permissions of each key, in a mapping, a callable or a file.
- `principal`: the authenticated caller, its name and its permissions.
- `authorize`: every endpoint calls it before it acts. A request without a principal is permitted, because the operator
  runs the server without authentication.
- `exposure`: the warning for such a server, if other machines can reach it.
- `browsers`: the protection of such a server against web pages of other sites.
- `sigv4`: AWS's signatures. A middleware of the user's own may replace it, and sets the principal too.

An action is `invoke` or `event` on a function, or `operate` on the server: every request that is not an invocation.
"""
