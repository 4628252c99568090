"""An issuer of JSON web tokens in the process of the application that verifies them."""

import functools
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class TokenIssuer:
    """An HTTP server with the public key of its tokens. It answers from its first token on."""

    def __init__(self):
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                is_keys = self.path == "/keys"
                members = {"keys": [issuer.public]} if is_keys else {"jwks_uri": f"{issuer.url}/keys"}
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(members).encode())

            def log_message(self, *args):
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @functools.cached_property
    def _key(self):
        from cryptography.hazmat.primitives.asymmetric import rsa

        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return rsa.generate_private_key(65537, 2048)

    @property
    def public(self):
        import jwt

        return {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key())), "kid": "one", "use": "sig"}

    def token(self, audience):
        """Return a token for ``audience``, which is valid for a minute."""
        import jwt

        now = int(time.time())
        claims = {"iss": self.url, "aud": audience, "sub": "ada", "iat": now, "exp": now + 60}
        return jwt.encode(claims, self._key, "RS256", headers={"kid": "one"})
