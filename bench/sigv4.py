"""Microseconds to verify a request's signature, in one process: python -m bench.sigv4."""

import argparse
import contextlib
import os
import platform
import tempfile
import time
from functools import partial
from hashlib import sha256
from time import perf_counter
from urllib.parse import quote

from bench.events import EVENTS
from bench.handlers import echo
from bench.inprocess import CALLS, boto3_environ, call
from serverfull_wsgi import Application, CredentialsFile, SigV4Middleware, StaticFetcher
from serverfull_wsgi.auth.sigv4.parsing import Request, parse_signature, query_pairs
from serverfull_wsgi.auth.sigv4.signature import canonical_request, signature
from serverfull_wsgi.telemetry.scope import LOGGER

KEY, SECRET, REGION = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "us-east-1"
PATH = "/2015-03-31/functions/echo/invocations"
NOW = 1_790_000_000  # seconds since 1970


def main():
    rounds = _options().rounds
    LOGGER.setLevel("WARNING")
    fetcher = StaticFetcher({"echo": echo})
    with _keys() as file:
        unsigned, from_memory, from_file, guarded = (
            Application(fetcher, authentication=authentication)
            for authentication in (
                None,
                _verified({KEY: SECRET}),
                _verified(CredentialsFile(file)),
                _verified({KEY: SECRET}, replay_guard=10**9),
            )
        )
        print(f"Python {platform.python_version()}; microseconds a call, best of {rounds} x {CALLS}")
        for size, event in EVENTS.items():
            runs = {
                "unsigned": (unsigned, lambda event=event: boto3_environ(event, {})),
                "signed in the header": (from_memory, lambda event=event: _signed_in_header(event)),
                "the same, key from a file": (from_file, lambda event=event: _signed_in_header(event)),
                "the same, replay guard on": (guarded, _with_new_signatures(event)),
                "presigned": (from_memory, lambda event=event: _presigned(event)),
                "refused: wrong signature": (from_memory, lambda event=event: _signed_in_header(event, secret="wrong")),
                "refused: no signature": (from_memory, lambda event=event: _unsigned(event)),
            }
            _show(size, _measured(runs, rounds))


def _options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="rounds, of which the best one counts (default: 200)")
    return parser.parse_args()


@contextlib.contextmanager
def _keys():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "keys")
        with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
            file.write(f"[bench]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n")
        time.sleep(0.2)  # a file that has just changed is read again with each request
        yield path


def _verified(credentials, **options):
    return partial(SigV4Middleware, credentials=credentials, region=REGION, clock=lambda: NOW, **options)


def _measured(runs, rounds):
    best = dict.fromkeys(runs, float("inf"))
    for name, (application, make) in runs.items():
        _check(name, application, make())
    for _ in range(rounds):
        for name, (application, make) in runs.items():
            environs = [make() for _ in range(CALLS)]
            started = perf_counter()
            for environ in environs:
                call(application, environ)
            best[name] = min(best[name], (perf_counter() - started) / CALLS * 1e6)
    return best


def _check(name, application, environ):
    """Exit unless a call has the status that its name promises."""
    statuses = []
    list(application(environ, lambda status, headers, *_: statuses.append(status[:3])))
    if statuses != ["403" if name.startswith("refused") else "200"]:
        raise SystemExit(f"{name}: {statuses}")


def _signed_in_header(event, secret=SECRET, number=0):
    date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(NOW))
    environ = boto3_environ(event, {})
    environ |= {"HTTP_X_AMZ_DATE": date, "HTTP_AMZ_SDK_REQUEST": f"attempt={number}"}
    names = "amz-sdk-invocation-id;amz-sdk-request;host;x-amz-date"
    scope = f"{KEY}/{date[:8]}/{REGION}/lambda/aws4_request"
    authorization = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names}, Signature="
    environ["HTTP_AUTHORIZATION"] = authorization + _signed(environ, f"{authorization}0", secret, event)
    return environ


def _with_new_signatures(event):
    """Return a function that makes requests, each with another signature."""
    numbers = iter(range(10**9))
    return lambda: _signed_in_header(event, number=next(numbers))


def _presigned(event):
    date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(NOW))
    credential = quote(f"{KEY}/{date[:8]}/{REGION}/lambda/aws4_request", safe="")
    query = (
        f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}&X-Amz-Date={date}&X-Amz-Expires=3600"
        "&X-Amz-SignedHeaders=host&X-Amz-Signature="
    )
    environ = _unsigned(event) | {"QUERY_STRING": f"{query}0"}
    environ["QUERY_STRING"] = query + _signed(environ, None, SECRET, event)
    environ["RAW_URI"] = f"{PATH}?{environ['QUERY_STRING']}"
    return environ


def _unsigned(event):
    environ = boto3_environ(event, {})
    del environ["HTTP_AUTHORIZATION"], environ["HTTP_X_AMZ_DATE"]
    return environ


def _signed(environ, authorization, secret, event):
    """Return the signature, computed by the verifier's own functions. (Tests use independent signers.)"""
    headers = {key[5:].replace("_", "-").lower(): text for key, text in environ.items() if key.startswith("HTTP_")}
    if authorization:
        headers["authorization"] = authorization
    query = query_pairs(environ["QUERY_STRING"])
    claim = parse_signature(headers, query)
    request = Request(environ["REQUEST_METHOD"], PATH, query, headers)
    return signature(claim, canonical_request(claim, request, sha256(event).hexdigest()), secret)


def _show(size, best):
    base = best.pop("unsigned")
    print(f"\n{size}: a call without authentication takes {base:.1f}")
    for name, figure in best.items():
        text = f"{figure:7.1f} in all" if name.startswith("refused") else f"{figure - base:7.1f} more"
        print(f"  {name:28}{text}")


if __name__ == "__main__":
    main()
