"""A registry in a directory of a test, and packages for it."""

import io
import itertools
import zipfile

from serverfull_wsgi.registry.account import Account
from serverfull_wsgi.registry.objects import DirectoryStore
from serverfull_wsgi.registry.packages import PackageStore
from serverfull_wsgi.registry.registry import Registry
from serverfull_wsgi.storage.package_cache import PackageCache

ACCOUNT = Account("us-east-1", "123456789012")
ARN = "arn:aws:lambda:us-east-1:123456789012:function"
ROLE = "arn:aws:iam::123456789012:role/r"
HANDLER = "def handler(event, context): return {text!r}, context.function_version"


def registry_in(path, *, reached=lambda step: None, cache=None, source=None, account=ACCOUNT, **options):
    """Return a registry in ``path``. Equal arguments give registries of one machine."""
    store = DirectoryStore(path / "registry", reached=reached)
    return Registry(
        store, PackageStore(store, PackageCache(cache or path / "data/packages"), source), account, **options
    )


def zipped(**files):
    """Return a zip archive: ``zipped(app="text")`` has app.py."""
    return zipped_paths({f"{name}.py": text for name, text in files.items()})


def zipped_paths(files):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    file.seek(0)
    return file


def code(text):
    """Return a package whose handler ``app.handler`` returns ``text`` and its version."""
    return zipped(app=HANDLER.format(text=text))


def request(**members):
    """Return the members of CreateFunction."""
    return {"Runtime": "python3.11", "Role": ROLE, "Handler": "app.handler", **members}


def deploy(registry, name="hello", text="one", **members):
    """Create a function and return the operation's answer."""
    return registry.create_function(name, request(**members), registry.packages.add(code(text)), "tester")


def redeploy(registry, name="hello", text="two", **members):
    """Replace the function's code and return the operation's answer."""
    return registry.update_code(name, members, registry.packages.add(code(text)), "tester")


def numbered_ids():
    """Return a source of ids: id-1, id-2, …"""
    numbers = itertools.count(1)
    return lambda: f"id-{next(numbers)}"
