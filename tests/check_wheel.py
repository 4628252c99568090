"""Builds the wheel, looks inside, and runs an example against it in a fresh environment outside the tree."""

import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
PORT = 9380  # outside the range that tests take theirs from


def main():
    with tempfile.TemporaryDirectory() as folder:
        wheel = build(Path(folder))
        look_inside(wheel)
        serve_an_example(wheel, Path(folder))
    print("the wheel is good")


def build(folder):
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT], check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def look_inside(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    package = ROOT / "serverfull_wsgi"
    sources = {str(path.relative_to(ROOT)) for kind in ("*.py", "*.mjs") for path in package.rglob(kind)}
    missing = (sources | {"serverfull_wsgi/py.typed"}) - set(names)
    strangers = [name for name in names if not name.startswith("serverfull_wsgi")]
    assert not missing, f"not in the wheel: {missing}"
    assert not strangers, f"in the wheel, but not of it: {strangers}"
    assert any(name.endswith("licenses/LICENSE") for name in names), "the licence is not in the wheel"


def serve_an_example(wheel, folder):
    venv.create(folder / "venv", with_pip=True)
    bin = folder / "venv/bin"
    subprocess.run([bin / "pip", "install", "--quiet", wheel], check=True)
    shutil.copytree(ROOT / "examples", folder / "examples")
    environ = {"PATH": str(bin), "SERVERFULL_FUNCTIONS": "hello=examples.hello.handler"}
    command = [bin / "gunicorn", "serverfull_wsgi:app", "--bind", f"127.0.0.1:{PORT}", "--no-control-socket"]
    server = subprocess.Popen(command, cwd=folder, env=environ)
    try:
        answer = post(f"http://127.0.0.1:{PORT}/2015-03-31/functions/hello/invocations")
    finally:
        server.terminate()
        server.wait(30)
    assert "Hello" in answer, answer


def post(url, seconds=30):
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, data=b"{}", timeout=5) as response:
            return response.read().decode()
        assert time.monotonic() < deadline, "the server does not answer"
        time.sleep(0.1)


if __name__ == "__main__":
    main()
