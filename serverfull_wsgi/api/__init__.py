"""The Lambda API over WSGI: routes, endpoints, and errors rendered once."""
