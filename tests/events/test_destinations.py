"""Deliveries to webhooks, over real sockets."""

import contextlib
import http.client
import shutil
import socket
import ssl
import subprocess
import threading
import time

import pytest

from serverfull_wsgi.events import destinations
from tests.support.battery import WHOLE
from tests.support.event_servers import EventServers, Webhook
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
            destinations.post(f"{scheme}://{server.address}/", b"{}", {}, timeout=0.5)


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
            destinations.post(url, b"{}", {})
        monkeypatch.setenv("SSL_CERT_FILE", str(files[1]))
        assert destinations.post(url, b"{}", {"X-Mine": "1"}) == 204
    ((headers, body),) = webhook.accepted
    assert (headers["Host"], headers["X-Mine"], body) == (url[8:-5], "1", b"{}")


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
