"""The names that users import: all of them work without the optional dependencies, and load these on first use."""

import subprocess
import sys

import pytest

import serverfull_wsgi
from serverfull_wsgi import ConfigurationError
from tests.support.servers import ROOT, clean_environ

pytestmark = pytest.mark.quick

BLOCK = """
import sys
for package in ("celery", "kombu", "redis", "yaml", "polyfactory", "boto3"):
    sys.modules[package] = None  # an import of it raises ModuleNotFoundError
"""


def python(code):
    argv = [sys.executable, "-c", code]
    return subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, env=clean_environ(), check=False)


def test_import_star_works_without_extras():
    result = python(
        BLOCK
        + "from serverfull_wsgi import *\n"
        + "import serverfull_wsgi\n"
        + "print(sorted(set(serverfull_wsgi.__all__) - set(globals())))\n"
        + "print('app' in vars(serverfull_wsgi))"
    )
    assert result.stdout == "[]\nFalse\n", result.stderr


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("CeleryQueue('redis://localhost')", "CeleryQueue needs Celery: pip install 'serverfull-wsgi[celery]'"),
        ("SamFetcher('template.yaml')", "SamFetcher needs PyYAML: pip install 'serverfull-wsgi[sam]'"),
    ],
)
def test_a_class_without_its_extra_raises_an_error_that_names_the_cure(call, message):
    name = call.partition("(")[0]
    result = python(f"{BLOCK}\nfrom serverfull_wsgi import {name}\n{call}")
    assert result.stderr.splitlines()[-1] == f"serverfull_wsgi.errors.ConfigurationError: {message}"


def test_optional_packages_are_imported_on_first_use():
    code = "import sys, serverfull_wsgi\nprint('celery' in sys.modules, 'yaml' in sys.modules)\n"
    use = (
        "serverfull_wsgi.CeleryQueue, serverfull_wsgi.SamFetcher\nprint('celery' in sys.modules, 'yaml' in sys.modules)"
    )
    assert python(code + use).stdout == "False False\nTrue True\n"


def test_the_optional_classes_are_the_real_ones():
    from serverfull_wsgi.fetchers.sam.fetcher import SamFetcher
    from serverfull_wsgi.queues.celery import CeleryQueue

    assert serverfull_wsgi.CeleryQueue is CeleryQueue
    assert serverfull_wsgi.SamFetcher is SamFetcher


def test_an_import_error_inside_an_installed_extra_is_not_hidden():
    from serverfull_wsgi.assembly.extras import needs_extra

    with pytest.raises(ModuleNotFoundError, match="no_such_module"), needs_extra("celery", "CeleryQueue"):
        import no_such_module  # noqa: F401
    with pytest.raises(ConfigurationError, match="CeleryQueue needs Celery"), needs_extra("celery", "CeleryQueue"):
        raise ModuleNotFoundError(name="kombu.transport")


def test_the_public_names_are_sorted_and_unique():
    assert list(serverfull_wsgi.__all__) == sorted(set(serverfull_wsgi.__all__))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'serverfull_wsgi' has no attribute 'nothing'"):
        serverfull_wsgi.nothing  # noqa: B018
