"""The fetcher of settings: functions by import path, and of a template."""

from __future__ import annotations

import os
import re
from pathlib import Path

from serverfull_wsgi.assembly.extras import needs_extra
from serverfull_wsgi.fetchers.abilities import reporting
from serverfull_wsgi.fetchers.chain import ChainFetcher
from serverfull_wsgi.fetchers.imported import ImportFetcher
from serverfull_wsgi.protocols import Fetcher, ListableFetcher
from serverfull_wsgi.settings.settings import Settings
from serverfull_wsgi.telemetry.scope import LOGGER

NO_FUNCTIONS = (
    "serving no functions; name some with SERVERFULL_FUNCTIONS='hello=package.module.handler', "
    "or a template with SERVERFULL_TEMPLATE, and start again"
)
CANNOT_RUN = "%s cannot run: calls are answered with 409; 'serverfull check' lists the reasons"


BUILD = ".aws-sam/build/template.yaml"  # where `sam build` puts a template
SOURCES = ("template.yaml", "template.yml", "template.json")  # the names that SAM looks for, in its order
TEMPLATES = (BUILD, *SOURCES)

_declaration = re.compile(rb"AWS::(Serverless|Lambda)::Function\b")  # a template without it declares no function


def create_fetcher(settings: Settings, fetcher: Fetcher | None = None) -> Fetcher:
    """Return ``fetcher``, or the one that the settings describe; wrapped in a `MockingFetcher` in mock mode."""
    return mocked(settings, fetcher or configured_fetcher(settings))


def configured_fetcher(settings: Settings) -> Fetcher:
    """Return a fetcher of the settings' functions, or of the working directory's template if no functions are set."""
    fetchers: list[ListableFetcher] = []
    template = settings.template or ("" if settings.functions else _default_template())
    if settings.functions or settings.aliases or not template:
        fetchers.append(ImportFetcher.parse(settings.functions, settings.aliases))
    if template:
        fetchers.append(_from_template(settings, template))
    for name, value in (("TEMPLATE_PARAMETERS", settings.template_parameters), ("LAYERS", settings.layers)):
        if value and not template and not (name == "LAYERS" and settings.registry):
            LOGGER.warning("SERVERFULL_%s has no effect: there is no template", name)
    fetcher = fetchers[0] if len(fetchers) == 1 else ChainFetcher(fetchers)
    for note in reporting(fetcher).notes():
        LOGGER.warning("%s", note)
    if refused := reporting(fetcher).refused():
        names = ", ".join(refused)
        LOGGER.warning(CANNOT_RUN, names)
    if not fetcher.functions() and not refused and not settings.registry:
        LOGGER.warning(NO_FUNCTIONS)
    return fetcher


def mocked(settings: Settings, fetcher: Fetcher) -> Fetcher:
    """Return ``fetcher``, wrapped in a `MockingFetcher` in mock mode."""
    LOGGER.disabled = False  # `logging.config` in a function's module disables every logger that it does not name
    if not settings.mock:
        return fetcher
    from serverfull_wsgi.fetchers.mock_values import RandomValues
    from serverfull_wsgi.fetchers.mocking import MockingFetcher

    if settings.mock_values == "random":
        return MockingFetcher(fetcher, RandomValues(settings.mock_seed))
    return MockingFetcher(fetcher)


def _default_template() -> str:
    """Return the path of the template in the working directory, or an empty text if there is none.

    Other programs have files of this name too, so a file without functions is skipped with a warning.
    """
    for path in filter(os.path.isfile, TEMPLATES):
        if not _declares_functions(path):
            LOGGER.warning(
                "%s is not served: it is not a SAM or CloudFormation template that declares a function", path
            )
            continue
        LOGGER.info("serving the functions of %s, since no SERVERFULL_TEMPLATE or SERVERFULL_FUNCTIONS is set", path)
        for source in filter(os.path.isfile, SOURCES if path == BUILD else ()):
            if os.path.getmtime(source) > os.path.getmtime(path):
                LOGGER.warning("%s is newer than its build, which is served; run 'sam build' again", source)
        return path
    return ""


def _declares_functions(path: str) -> bool:
    try:
        return bool(_declaration.search(Path(path).read_bytes()))
    except OSError:  # `SamFetcher` reports it
        return True


def _from_template(settings: Settings, path: str) -> ListableFetcher:
    with needs_extra("sam", f"SERVERFULL_TEMPLATE={path}" if settings.template else f"the template {path}"):
        from serverfull_wsgi.assembly.caches import package_cache
        from serverfull_wsgi.fetchers.sam.fetcher import SamFetcher
        from serverfull_wsgi.fetchers.sam.parameters import parse_layers, parse_parameters
    parameters = parse_parameters(settings.template_parameters)
    return SamFetcher(
        path,
        parameters,
        region=settings.region,
        account_id=settings.account_id,
        layers=parse_layers(settings.layers),
        cache=package_cache(settings, "packages"),
        strict=settings.template_strict,
        has_front=bool(settings.front),
    )
