"""Check of both archives: build them, look inside, serve an example with the wheel, and test the sdist.

``python tests/packaging/check_archives.py`` needs the package ``build``; ``tox -e package`` runs it.
"""

import contextlib
import email
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PACKAGE = "serverfull_wsgi"
FOLDERS = ("bench", "deploy", "docs", "examples", "tests", "tools", PACKAGE)  # of which the sdist has every file
FILES = ("LICENSE", "pyproject.toml", "setup.py", "tox.ini", *(file.name for file in ROOT.glob("*.md")))
SDIST_TESTS = ["tests/settings", "tests/packaging", "tests/test_architecture.py"]  # quick, and they read other files
# They need no more than this. The whole extra `test` takes a minute; tox installs the wheel with it on each Python.
TEST_EXTRAS, TEST_PACKAGES = "celery,granian,jwt,mock,sam", ["boto3", "pytest"]


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        sdist, wheel = build(folder / "dist")
        source = check_sdist(sdist, folder)
        check_wheel(wheel)
        check_metadata(wheel)
        python = environment(folder / "venv")
        install(python, wheel)
        serve_an_example(source, python, folder)
        install(python, f"{wheel}[{TEST_EXTRAS}]", *TEST_PACKAGES)
        run_tests(source, python)
    print(f"{sdist.name} and {wheel.name} are complete and work")


def build(folder):
    """Build the sdist, and the wheel from the sdist."""
    subprocess.run([sys.executable, "-m", "build", "--outdir", folder, ROOT], check=True, stdout=subprocess.DEVNULL)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


def check_sdist(sdist, folder):
    """Unpack the sdist, compare it with the source tree, and return its folder."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "sdist", filter="data")
    (source,) = (folder / "sdist").iterdir()
    expected = {file for name in FOLDERS for file in files(ROOT / name)} | {ROOT / name for name in FILES}
    missing = sorted(
        name for name in (str(file.relative_to(ROOT)) for file in expected) if not (source / name).is_file()
    )
    assert not missing, f"not in the sdist: {missing}"
    return source


def files(folder):
    """Yield the files of a folder that belong to the project."""
    for file in folder.rglob("*"):
        parts = file.relative_to(ROOT).parts
        if file.is_file() and file.suffix != ".pyc" and not {"__pycache__", "_build"} & set(parts):
            yield file


def check_wheel(wheel):
    """Compare the wheel with the package's folder: it has all of it, and nothing else."""
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {str(file.relative_to(ROOT)) for file in files(ROOT / PACKAGE)}
    missing = expected - names
    others = {name for name in names if not name.startswith((f"{PACKAGE}/", f"{PACKAGE}-"))}
    assert not missing, f"not in the wheel: {missing}"
    assert not others, f"in the wheel, but not part of the package: {others}"
    assert any(name.endswith("licenses/LICENSE") for name in names), "the licence is not in the wheel"


def check_metadata(wheel):
    """Check the fields that the package index shows."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Author"] == "the serverfull_wsgi developers"
    assert "serverless" in metadata["Keywords"].split(",")
    assert metadata["Author-email"] is None, "an invented address"
    home = re.search(r'^HOME = "(.*?)"', (ROOT / "setup.py").read_text(), re.MULTILINE)[1]
    assert home or not (metadata["Home-page"] or metadata.get_all("Project-URL")), "a URL that setup.py does not have"
    text = metadata.get_payload()
    assert relative_links(text) == [], "the package index would show dead links"


def relative_links(markdown):
    """Return the targets of links and images that are neither URLs nor anchors of the same page.

    >>> relative_links("[a](https://example.com) [b](docs/b.md) [c](#c) <img src='d.png'>\\n[e]: e.md")
    ['docs/b.md', 'd.png', 'e.md']
    """
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", markdown, flags=re.DOTALL)
    patterns = r"\]\(\s*<?([^)\s>]+)", r"(?:src|href)=[\"']([^\"']+)", r"^\[[^\]]+\]:\s*(\S+)"
    targets = [target for pattern in patterns for target in re.findall(pattern, prose, re.MULTILINE)]
    return [target for target in targets if not re.match(r"(https?|mailto):|#", target)]


def environment(folder):
    """Make a virtual environment without pip, and return its Python."""
    venv.create(folder)
    return folder / "bin/python"


def install(python, *requirements):
    """Install these packages in an environment."""
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", *requirements], check=True)


def serve_an_example(source, python, folder):
    """Serve an example with the wheel, in a folder with nothing else of the project."""
    site = folder / "site"
    shutil.copytree(source / "examples", site / "examples")
    port = free_port()
    command = [python.parent / "gunicorn", f"{PACKAGE}:app", "--bind", f"127.0.0.1:{port}", "--no-control-socket"]
    environ = {**clean_environ(python), "SERVERFULL_FUNCTIONS": "hello=examples.hello.handler"}
    server = subprocess.Popen(command, cwd=site, env=environ)
    try:
        body = post(f"http://127.0.0.1:{port}/2015-03-31/functions/hello/invocations")
    finally:
        server.terminate()
        server.wait(30)
    assert "Hello" in body, body


def run_tests(source, python):
    """Run tests of the sdist in its folder."""
    argv = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *SDIST_TESTS]
    subprocess.run(argv, cwd=source, env=clean_environ(python), check=True)


def clean_environ(python):
    """Return an environment without variables that would lead Python back to the source tree."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "PATH": f"{python.parent}:/usr/local/bin:/usr/bin:/bin"}


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def post(url, seconds=60):
    """Return the response's text as soon as the server responds."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, data=b"{}", timeout=5) as response:
            return response.read().decode()
        assert time.monotonic() < deadline, f"{url} did not respond within {seconds} s"
        time.sleep(0.1)


if __name__ == "__main__":
    main()
