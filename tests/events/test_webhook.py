"""Webhooks that take their time, each a real socket."""

import contextlib
import http.client
import shutil
import socket
import ssl
import subprocess
import threading
import time

import pytest

from serverfull_wsgi.events import webhook
from tests.support.battery import WHOLE
from tests.support.event_servers import EventServers, Webhook
from tests.support.waiting import wait_until

ANSWER = b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 200 + b"\r\nContent-Length: 0\r\n\r\n"
HANDSHAKE = b"\x16\x03\x03\x40\x00" + bytes(16_384)  # the beginning of a TLS record that is long in coming


class Dripping:
    """Answers each connection with one byte at a time; without ``answer`` it takes it, and says nothing at all."""

    def __init__(self, answer=b"", pause=0.1):
        self._socket, self._answer, self._pause = socket.create_server(("127.0.0.1", 0)), answer, pause
        self.address = "{}:{}".format(*self._socket.getsockname())
        self.cut = []  # seconds after which each was given up
        self._threads = [threading.Thread(target=self._accept)]
        self._closing = threading.Event()
        self._threads[0].start()

    def _accept(self):
        while not self._closing.is_set():
            sock, _ = self._socket.accept()
            self._threads.append(threading.Thread(target=self._answer_one, args=[sock]))
            self._threads[-1].start()

    def _answer_one(self, sock):
        began = time.monotonic()
        with sock, contextlib.suppress(OSError):
            for number in range(len(self._answer)):
                if self._closing.wait(self._pause):
                    return
                sock.sendall(self._answer[number : number + 1])
            while not self._closing.is_set() and sock.recv(65536):
                pass
        self.cut.append(round(time.monotonic() - began, 1))

    def close(self):
        self._closing.set()
        with socket.create_connection(self._socket.getsockname()):
            pass
        for thread in self._threads:
            thread.join()
        self._socket.close()


@pytest.mark.parametrize(
    ("scheme", "answer"),
    [("http", ANSWER), ("https", HANDSHAKE), ("http", b"")],
    ids=["answer", "handshake", "silence"],
)
def test_a_webhook_that_drips_is_cut_off(scheme, answer, monkeypatch):
    monkeypatch.setattr(webhook, "TIMEOUT", 0.5)
    with contextlib.closing(Dripping(answer)) as dripping:
        with pytest.raises((OSError, http.client.HTTPException)):
            webhook.post(f"{scheme}://{dripping.address}/", b"{}", {})


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl, to make a certificate")
def test_a_webhook_may_be_https_if_its_certificate_is_good(tmp_path, monkeypatch):
    files = [tmp_path / "key.pem", tmp_path / "certificate.pem"]
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    argv += ["-addext", "subjectAltName=DNS:localhost", "-keyout", files[0], "-out", files[1]]
    subprocess.run(argv, capture_output=True, check=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files[1], files[0])
    with contextlib.closing(Webhook(204)) as hook:
        hook.server.socket = context.wrap_socket(hook.server.socket, server_side=True)
        url = f"https://localhost:{hook.server.server_port}/hook"
        with pytest.raises(ssl.SSLCertVerificationError):
            webhook.post(url, b"{}", {})
        monkeypatch.setenv("SSL_CERT_FILE", str(files[1]))
        assert webhook.post(url, b"{}", {"X-Mine": "1"}) == 204
    ((headers, body),) = hook.accepted
    assert (headers["Host"], headers["X-Mine"], body) == (url[8:-5], "1", b"{}")


@pytest.mark.battery
@pytest.mark.skipif(not WHOLE, reason="takes as long as a destination may: in the battery only")
@pytest.mark.parametrize("answer", [ANSWER, b""], ids=["drips", "hangs"])
def test_a_webhook_holds_a_courier_no_longer_than_it_may_take(answer, tmp_path, battery):
    """A10: the others are told meanwhile, and the record waits."""
    servers = EventServers(tmp_path)
    with contextlib.closing(Dripping(answer, pause=1.0)) as dripping:
        with servers.gunicorn(WEBHOOK=f"http://{dripping.address}/"):
            ids = [servers.accept("broken_to_webhook") for _ in range(4)]
            servers.accept("note_to_receiver", 1)
            deadline = time.monotonic() + 90
            while len(dripping.cut) < 4:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            wait_until(servers.received)
            found = [servers.event(id)["records"][0] for id in ids]
    battery.record(f"A10 a webhook that {'drips a byte a second' if answer else 'hangs'}", seconds=dripping.cut)
    assert {record["state"] for record in found} == {"waiting"}
    assert servers.received()[0]["requestContext"]["condition"] == "Success"


def test_a_stop_waits_for_what_is_being_delivered(tmp_path):
    servers = EventServers(tmp_path)
    with contextlib.closing(Webhook("wait")) as hook:
        with servers.gunicorn(WEBHOOK=hook.url) as server:
            id = servers.accept("broken_to_webhook")
            wait_until(lambda: hook.attempts == 1)
            answering = threading.Timer(1.0, hook.may_respond.set)
            answering.start()
            server.stop()
            answering.join()
        with servers.gunicorn(WEBHOOK=hook.url):
            assert servers.event(id)["records"][0]["state"] == "delivered"
    assert hook.attempts == 1
