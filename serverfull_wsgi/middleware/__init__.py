"""WSGI middleware, for the application of this package and for any other."""

from serverfull_wsgi.middleware.credentials import Credential, CredentialsFile
from serverfull_wsgi.middleware.sigv4 import SigV4Middleware

__all__ = ["Credential", "CredentialsFile", "SigV4Middleware"]
