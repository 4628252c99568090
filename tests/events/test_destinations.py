"""Deliveries to webhooks, over real sockets."""

import contextlib
import http.client
import logging
import shutil
import socket
import sqlite3
import ssl
import subprocess
import threading
import time

import pytest

from serverfull_wsgi import Application, EventConfig, Function, SqliteQueue, StaticFetcher
from serverfull_wsgi.events.destinations import Delivery, DestinationClient
from serverfull_wsgi.events.webhook import post
from tests.support.battery import WHOLE
from tests.support.event_servers import EventServers, Webhook
from tests.support.hosts import InProcess
from tests.support.waiting import wait_until

RESPONSE = b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 200 + b"\r\nContent-Length: 0\r\n\r\n"
TLS_RECORD = b"\x16\x03\x03\x40\x00" + bytes(16_384)  # the start of a handshake


class SlowServer:
    """A server that sends ``response`` one byte at a time, then keeps the connection open."""

    def __init__(self, response=b"", pause=0.1):
        self._socket, self._response, self._pause = socket.create_server(("127.0.0.1", 0)), response, pause
        self.address = "{}:{}".format(*self._socket.getsockname())
        self.durations = []  # seconds after which clients closed their connections
        self._threads = [threading.Thread(target=self._accept)]
        self._closing = threading.Event()
        self._threads[0].start()

    def _accept(self):
        while not self._closing.is_set():
            sock, _ = self._socket.accept()
            self._threads.append(threading.Thread(target=self._serve, args=[sock]))
            self._threads[-1].start()

    def _serve(self, sock):
        started = time.monotonic()
        with sock, contextlib.suppress(OSError):
            for number in range(len(self._response)):
                if self._closing.wait(self._pause):
                    return
                sock.sendall(self._response[number : number + 1])
            while not self._closing.is_set() and sock.recv(65536):
                pass
        self.durations.append(round(time.monotonic() - started, 1))

    def close(self):
        self._closing.set()
        with socket.create_connection(self._socket.getsockname()):
            pass
        for thread in self._threads:
            thread.join()
        self._socket.close()


@pytest.mark.parametrize(
    ("scheme", "response"),
    [("http", RESPONSE), ("https", TLS_RECORD), ("http", b"")],
    ids=["slow response", "slow handshake", "no response"],
)
def test_a_slow_webhook_is_disconnected_after_the_timeout(scheme, response):
    with contextlib.closing(SlowServer(response)) as server:
        with pytest.raises((OSError, http.client.HTTPException)):
            post(f"{scheme}://{server.address}/", b"{}", {}, timeout=0.5)


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl, which makes a certificate")
def test_a_webhook_with_https_needs_a_valid_certificate(tmp_path, monkeypatch):
    files = [tmp_path / "key.pem", tmp_path / "certificate.pem"]
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    argv += ["-addext", "subjectAltName=DNS:localhost", "-keyout", files[0], "-out", files[1]]
    subprocess.run(argv, capture_output=True, check=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files[1], files[0])
    with contextlib.closing(Webhook(204)) as webhook:
        webhook.server.socket = context.wrap_socket(webhook.server.socket, server_side=True)
        url = f"https://localhost:{webhook.server.server_port}/hook"
        with pytest.raises(ssl.SSLCertVerificationError):
            post(url, b"{}", {}, timeout=10)
        monkeypatch.setenv("SSL_CERT_FILE", str(files[1]))
        assert post(url, b"{}", {"X-Mine": "1"}, timeout=10) == 204
    ((headers, body),) = webhook.accepted
    assert (headers["Host"], headers["X-Mine"], body) == (url[8:-5], "1", b"{}")


@pytest.mark.parametrize(
    ("user_info", "header"),
    [
        ("", None),
        ("user:s3cret@", "Basic dXNlcjpzM2NyZXQ="),
        ("user@", "Basic dXNlcjo="),
        ("us%40er:a%3Ab%2Fc@", "Basic dXNAZXI6YTpiL2M="),
        ("gr%C3%BCezi:s3cret@", "Basic Z3LDvGV6aTpzM2NyZXQ="),
    ],
)
def test_a_webhook_receives_the_user_info_of_its_url(user_info, header):
    with contextlib.closing(Webhook()) as webhook:
        url = webhook.url.replace("http://", f"http://{user_info}")
        assert post(url, b"{}", {}, timeout=10) == 200
    ((headers, _),) = webhook.accepted
    assert (headers["Authorization"], headers["Host"]) == (header, webhook.url.split("/")[2])


@pytest.mark.battery
@pytest.mark.skipif(not WHOLE, reason="takes several timeouts: in the battery only")
@pytest.mark.parametrize("response", [RESPONSE, b""], ids=["slow", "silent"])
def test_a_slow_webhook_blocks_a_delivery_thread_no_longer_than_the_timeout(response, tmp_path, battery):
    servers = EventServers(tmp_path)
    with contextlib.closing(SlowServer(response, pause=1.0)) as slow:
        with servers.gunicorn(WEBHOOK=f"http://{slow.address}/"):
            ids = [servers.accept("broken_to_webhook") for _ in range(4)]
            servers.accept("note_to_receiver", 1)
            wait_until(lambda: len(slow.durations) >= len(ids), 90)
            wait_until(servers.received)
            records = [servers.event(id)["records"][0] for id in ids]
    battery.record(f"A10 a webhook that {'drips a byte a second' if response else 'hangs'}", seconds=slow.durations)
    assert {record["state"] for record in records} == {"waiting"}
    assert servers.received()[0]["requestContext"]["condition"] == "Success"


def test_a_stop_waits_for_a_delivery_in_progress(tmp_path):
    servers = EventServers(tmp_path)
    with contextlib.closing(Webhook("wait")) as webhook:
        with servers.gunicorn(WEBHOOK=webhook.url) as server:
            id = servers.accept("broken_to_webhook")
            wait_until(lambda: webhook.attempts == 1)
            response = threading.Timer(1.0, webhook.may_respond.set)
            response.start()
            server.stop()
            response.join()
        with servers.gunicorn(WEBHOOK=webhook.url):
            assert servers.event(id)["records"][0]["state"] == "delivered"
    assert webhook.attempts == 1


def delivery(target):
    return Delivery("on_failure", target, b"{}", {}, "id", "arn:aws:lambda:us-east-1:123456789012:function:f", "", "id")


@pytest.mark.parametrize(
    "form",
    [
        "http://user:s3cret@{}/hook",
        "http://{}/hook?token=s3cret",
        "http://{}/hook?token=s3cret\x01",
        "http://user:s3/cret@{}/hook",
        "http://user:s3cret@{}.invalid:99999/hook?s3cret",
        "http://user:s3cret@[{}/hook",
        "http://user:s3cret@grüezi..invalid/hook",
    ],
)
def test_a_failed_delivery_is_logged_without_passwords_and_tokens(form, caplog):
    client = DestinationClient(None, None, logging.getLogger("tests.destinations"), None)
    with contextlib.closing(Webhook(500)) as webhook:
        address = webhook.url.split("/")[2]
        error = client.deliver(delivery(form.format(address)))
    (record,) = caplog.records
    assert error
    assert "http://***" in record.getMessage() or "/hook?***" in record.getMessage()
    assert "s3" not in error + record.getMessage()


def test_a_look_up_shows_a_webhook_without_its_password_and_token(tmp_path):
    with contextlib.closing(Webhook(500, 500)) as webhook:
        target = webhook.url.replace("http://", "http://user:s3cret@").replace("x=1", "token=s3cret")
        function = Function(lambda event, context: 1 / 0, event_config=EventConfig(0, on_failure=target))
        queue = SqliteQueue(tmp_path / "events.sqlite3")
        application = Application(StaticFetcher({"f": function}), queue=queue, admin=True)
        call = InProcess(application).request
        assert (
            call("POST", "/2015-03-31/functions/f/invocations", b"", {"X-Amz-Invocation-Type": "Event"}).status == 202
        )
        (event,) = call("GET", "/serverfull/events").json["events"]
        shown = wait_until(lambda: _records(call("GET", f"/serverfull/events/{event['requestId']}")))
        application.close()
    assert shown["target"] == f"http://***@{webhook.url.split('/')[2]}/hook?***"
    with contextlib.closing(sqlite3.connect(tmp_path / "events.sqlite3")) as db:
        assert db.execute("SELECT target FROM record").fetchone() == (target,)  # for the next attempt


def _records(response):
    assert b"s3cret" not in response.body
    records = response.json["records"]
    return records[0] if records and records[0]["tries"] else None
