"""Assembly of an application from settings: the one module that names concrete classes.

::

    Settings ──> create_stats ──> create_fetcher ───────────────┐
                              ├─> create_executor ──────────────┼──> Application
                              ├─> create_queue ─────────────────┤
                              ├─> create_sites ─────────────────┤
                              └─> create_authentication ────────┘
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from serverfull_wsgi.api.application import Application
from serverfull_wsgi.api.wrapped import applications_in
from serverfull_wsgi.auth.credentials import CredentialsFile
from serverfull_wsgi.auth.sigv4.verifier import Verifier
from serverfull_wsgi.dispatcher import Dispatcher
from serverfull_wsgi.errors import ConfigurationError
from serverfull_wsgi.events.retry_policy import Delays
from serverfull_wsgi.executors.inprocess import InProcessExecutor
from serverfull_wsgi.executors.isolated.executor import ProcessExecutor
from serverfull_wsgi.executors.isolated.shared_folders import parse_mounts
from serverfull_wsgi.executors.routing import ChoosingExecutor
from serverfull_wsgi.fetchers.abilities import list_functions, logical_ids, reporting, template_fetchers
from serverfull_wsgi.fetchers.chain import ChainFetcher
from serverfull_wsgi.fetchers.fallback import FallbackFetcher
from serverfull_wsgi.fetchers.imported import ImportFetcher
from serverfull_wsgi.fetchers.mock_values import RandomValues
from serverfull_wsgi.fetchers.mocking import MockingFetcher
from serverfull_wsgi.fetchers.registry import RegistryFetcher
from serverfull_wsgi.fetchers.sam.parameters import parse_layers
from serverfull_wsgi.fetchers.static import StaticFetcher
from serverfull_wsgi.protocols import EventQueue, Executor, Fetcher, ListableFetcher, is_listable
from serverfull_wsgi.queues.memory import MemoryQueue
from serverfull_wsgi.queues.sqlite.queue import SqliteQueue
from serverfull_wsgi.registry.account import Account
from serverfull_wsgi.registry.layers import Layers
from serverfull_wsgi.registry.objects import DirectoryStore
from serverfull_wsgi.registry.packages import PackageStore
from serverfull_wsgi.registry.registry import Registry
from serverfull_wsgi.registry.s3_source import S3Source
from serverfull_wsgi.settings.settings import Settings
from serverfull_wsgi.settings.variable_files import FOR_ALL, overrides_of, read_dotenv, read_sam_variables
from serverfull_wsgi.storage.archives import Packages
from serverfull_wsgi.storage.package_cache import PackageCache
from serverfull_wsgi.storage.private_files import readable_by_others
from serverfull_wsgi.telemetry.logs import configure
from serverfull_wsgi.telemetry.metrics import Metrics, Stat, UdpStats
from serverfull_wsgi.telemetry.scope import LOGGER

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from serverfull_wsgi.gateway.front import SiteServer

NO_FUNCTIONS = (
    "serving no functions; name some with SERVERFULL_FUNCTIONS='hello=package.module.handler', "
    "or a template with SERVERFULL_TEMPLATE, and start again"
)
NO_LOG = (
    "a broker keeps no log of events, so they cannot be listed, redriven or purged; its own tools show waiting events "
    "('rabbitmqctl list_queues', 'celery -A serverfull_wsgi.celery inspect active'), and a failed event is sent "
    "to its on_failure or dead_letter target"
)
ROOT = ("root",)  # the value of `Settings.front` that serves one API under every path
TEMPLATES = (".aws-sam/build/template.yaml", "template.yaml")  # where `sam build` and `sam init` put them
EXTRAS = {  # the extras of setup.py that whole modules need: the package's name, and the modules it and its own import
    "celery": ("Celery", {"celery", "kombu", "redis"}),
    "granian": ("granian", {"granian"}),
    "jwt": ("PyJWT", {"jwt", "cryptography"}),
    "sam": ("PyYAML", {"yaml"}),
}
_logged_notices: set[str] = set()
_declaration = re.compile(rb"AWS::(Serverless|Lambda)::Function\b")  # a template without it declares no function


def create_app(
    settings: Settings | None = None,
    fetcher: Fetcher | None = None,
    *,
    authentication: Callable[[WSGIApplication], WSGIApplication] | None = None,
) -> Application:
    """Return an application as ``settings`` describe it, or as the environment variables do if ``settings`` is None.

    This also sets up the server's logger, so that a problem of the start is logged as configured.

    Args:
        settings: None for the environment variables.
        fetcher: replaces SERVERFULL_FUNCTIONS, SERVERFULL_ALIASES and SERVERFULL_TEMPLATE.
        authentication: a WSGI middleware that every request passes; replaces SERVERFULL_CREDENTIALS_FILE.

    Raises:
        ConfigurationError: for bad settings; the message names all of them.
    """
    settings = settings or Settings.from_environ()
    configure_logging(settings)
    _logged_notices.clear()
    log_notices(settings)
    stats = create_stats(settings)
    configured = fetcher or _configured_fetcher(settings)
    registry = create_registry(settings, configured)
    fetcher = _mocked(settings, _with_registry(configured, registry) if registry else configured)
    return Application(
        fetcher,
        healthcheck=settings.healthcheck,
        mock=settings.mock,
        logger=LOGGER,
        stats=stats,
        executor=create_executor(settings, stats, fetcher),
        authentication=authentication or create_authentication(settings),
        queue=create_queue(settings, stats),
        admin=settings.admin,
        allowed_origins=settings.allowed_origins,
        allowed_hosts=settings.allowed_hosts,
        sites=create_sites(settings, fetcher),
        region=settings.region,
        account_id=settings.account_id,
        data_dir=settings.data_dir,
        registry=registry,
        deploy_unsigned=settings.deploy_unsigned,
    )


def at_root(settings: Settings, api: str = "") -> Settings:
    """Return settings that serve one API under every path; ``api`` is its name, empty for SERVERFULL_FRONT_API."""
    return replace(settings, front=ROOT, front_api=api or settings.front_api)


def create_sites(settings: Settings, fetcher: Fetcher) -> Callable[[Dispatcher], SiteServer] | None:
    """Return a function that makes the server of APIs, function URLs and load balancers; None if they are off.

    Warnings about routes of a template are logged. Raises `ConfigurationError`.
    """
    if not settings.front:
        for name, value in (("ROUTES", settings.routes), ("ALB", settings.load_balancers)):
            if value:
                LOGGER.warning("SERVERFULL_%s has no effect without SERVERFULL_FRONT or 'serverfull serve --api'", name)
        return None
    from serverfull_wsgi.gateway.authorizers import Authorizers, TokenVerifier  # not imported by servers without routes
    from serverfull_wsgi.gateway.configuration import choose, parse_load_balancers, parse_routes
    from serverfull_wsgi.gateway.front import SiteServer
    from serverfull_wsgi.gateway.gateway import Gateway
    from serverfull_wsgi.gateway.locations import Locations
    from serverfull_wsgi.gateway.requests import parse_proxies

    sites = [parse_routes(settings.routes, settings.account_id)] if settings.routes else []
    sites += parse_load_balancers(settings.load_balancers, settings.region, settings.account_id)
    for template in template_fetchers(fetcher):
        from serverfull_wsgi.gateway.cloudformation import CloudFormationSites  # both need the extra `sam`
        from serverfull_wsgi.gateway.templates import TemplateSites

        for kind in (TemplateSites, CloudFormationSites):
            found = kind(template, account_id=settings.account_id)
            sites += found.sites
            for line in found.warnings:
                LOGGER.warning("%s", line)
    proxies, keys = parse_proxies(settings.trusted_proxies), _api_keys(settings)
    conditions = [endpoint.access for site in sites for endpoint in site.endpoints.values()]
    if not keys and any(access.needs_api_key for access in conditions):
        LOGGER.warning("routes that need an API key refuse each request: set SERVERFULL_API_KEYS or _API_KEYS_FILE")
    if not settings.credentials_file and any(access.needs_signature for access in conditions):
        LOGGER.warning("routes that need an IAM signature refuse each request: set SERVERFULL_CREDENTIALS_FILE")
    tokens: TokenVerifier | None = None
    if any(access.token for access in conditions):
        with needs_extra("jwt", "a JWT authorizer of the template"):
            from serverfull_wsgi.gateway.json_web_tokens import Tokens
        tokens = Tokens()

    def server(dispatcher: Dispatcher) -> SiteServer:
        authorizers = Authorizers(dispatcher, keys, tokens=tokens)
        gateway = Gateway(dispatcher, authorizers, timeout=settings.front_timeout)
        if settings.front == ROOT:
            root = choose(sites, settings.front_api)
            return SiteServer(gateway, root=root, proxies=proxies, verifiers=_verifiers(settings))
        locations = Locations(sites, settings.front)
        return SiteServer(gateway, locations=locations, proxies=proxies, verifiers=_verifiers(settings))

    return server


def _verifiers(settings: Settings) -> dict[str, Verifier]:
    """Return the verifiers of signatures for routes; none if no credentials file is set."""
    if not settings.credentials_file:
        return {}
    credentials = CredentialsFile(settings.credentials_file)
    return {
        service: Verifier(
            credentials,
            settings.region,
            service,
            account_id=settings.account_id,
            replay_guard=settings.replay_guard,
        )
        for service in ("lambda", "execute-api")
    }


def _api_keys(settings: Settings) -> tuple[str, ...]:
    """Return the API keys of both settings. Log a warning if others can read the file."""
    if not settings.api_keys_file:
        return settings.api_keys
    path = Path(settings.api_keys_file).absolute()
    origin = f"SERVERFULL_API_KEYS_FILE={settings.api_keys_file}"
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "the file is not text"
        raise ConfigurationError(f"{origin}: {reason}; name a file with a key in each line") from None
    if readable_by_others(path.parent, [path.name]):
        LOGGER.warning("%s: other users of this machine can read the file; run chmod o-r %s", origin, path)
    return (*settings.api_keys, *filter(None, map(str.strip, lines)))


def import_application(target: str, origin: str) -> Application:
    """Return the application that ``target``, MODULE:APPLICATION, names, or that is inside of the callable there.

    ``origin`` is the option or setting that gave the name, for error messages. Raises `ConfigurationError`.
    """
    wsgi = import_wsgi(target, origin)
    applications = applications_in(wsgi)
    if len(applications) != 1:
        count = f"with {len(applications)} applications inside" if applications else "with no application inside"
        raise ConfigurationError(
            f"{origin}: this is a {type(wsgi).__name__} {count}; name a serverfull_wsgi.Application, "
            "or set the attribute serverfull_application of the callable"
        )
    return applications[0]


def import_wsgi(target: str, origin: str) -> WSGIApplication:
    """Return the WSGI callable that ``target``, MODULE:CALLABLE, names. Raises `ConfigurationError`."""
    module, _, attribute = target.partition(":")
    if not all(part.isidentifier() for part in module.split(".")):
        raise ConfigurationError(
            f"{origin}: {module!r} is not a valid module name; use MODULE:APPLICATION, as in orders.web:app"
        )
    try:
        wsgi: WSGIApplication = getattr(importlib.import_module(module), attribute or "app")
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"{origin}: {error}") from error
    if not callable(wsgi):
        raise ConfigurationError(
            f"{origin}: this is a {type(wsgi).__name__}; name a serverfull_wsgi.Application, or a callable around one"
        )
    return wsgi


@contextlib.contextmanager
def needs_extra(extra: str, origin: str) -> Iterator[None]:
    """Turn the ImportError of a missing optional dependency into a `ConfigurationError` that names its cure.

    ``extra`` is a key of `EXTRAS`, ``origin`` the setting or class that needs it.
    """
    package, modules = EXTRAS[extra]
    try:
        yield
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in modules:
            raise
        raise ConfigurationError(f"{origin} needs {package}: pip install 'serverfull-wsgi[{extra}]'") from error


def create_executor(settings: Settings, stats: Stat | None = None, fetcher: Fetcher | None = None) -> Executor:
    """Return the executor: functions run in this process or in isolated processes.

    ``fetcher`` has the functions that the file of ``--env-vars`` names.
    """
    isolate = settings.executor == "process" and not settings.mock
    isolated = ProcessExecutor(
        max_concurrency=settings.max_concurrency,
        idle=settings.environment_idle,
        sandbox=settings.sandbox,
        preload=settings.zygote_preload,
        drain=settings.drain,
        eager=isolate or _requires_sandbox(settings, fetcher),
        environment=_file_variables(settings),
        overrides=_overrides(settings, fetcher) if fetcher else {},
        node_modules=node_modules_path(settings),
        python_modules=python_modules_path(settings),
        hidden=_hidden_paths(settings),
        mounts=settings.mounts,
        network=settings.network,
    )
    if not settings.mock and fetcher is not None and is_listable(fetcher):
        isolated.check_mounts(fetcher.functions())
    return ChoosingExecutor(InProcessExecutor(logger=LOGGER, stats=stats), isolated, isolate=isolate)


def _hidden_paths(settings: Settings) -> list[str]:
    """Return the files and directories of the server that no function sees: its data, keys and variables."""
    files = [value for name, value in vars(settings).items() if name.endswith("_file")]
    return [settings.data_dir, *files, *([] if "://" in settings.registry else [settings.registry])]


def _requires_sandbox(settings: Settings, fetcher: Fetcher | None) -> bool:
    """Return whether a machine without the sandbox must refuse the start: functions would fail at each call.

    Under ``auto`` these are the functions with shared folders, which need a root directory of their own.
    """
    if settings.sandbox == "process" or settings.mock or fetcher is None or not is_listable(fetcher):
        return False
    isolated = [function for function in fetcher.functions() if function.code is not None]
    return any(function.mounts for function in isolated) if settings.sandbox == "auto" else bool(isolated)


def node_modules_path(settings: Settings) -> str:
    """Return the folder of packages of SERVERFULL_NODE_MODULES, or an empty text if the setting is empty."""
    if not settings.node_modules:
        return ""
    path = Path(settings.node_modules, "node_modules").absolute()
    if not path.is_dir():
        raise ConfigurationError(
            f"SERVERFULL_NODE_MODULES={settings.node_modules}: there is no folder {path}; "
            f"make it with 'npm install --prefix {settings.node_modules} PACKAGE'"
        )
    return str(path)


def python_modules_path(settings: Settings) -> str:
    """Return the folder of SERVERFULL_PYTHON_MODULES, or an empty text if the setting is empty."""
    if not settings.python_modules:
        return ""
    path = Path(settings.python_modules).absolute()
    if not path.is_dir():
        raise ConfigurationError(
            f"SERVERFULL_PYTHON_MODULES={settings.python_modules}: there is no folder {path}; "
            f"make it with 'pip install --target {settings.python_modules} PACKAGE'"
        )
    return str(path)


def _file_variables(settings: Settings) -> dict[str, str]:
    """Return the variables of SERVERFULL_ENVIRONMENT_FILE. Log a warning if others can read the file."""
    if not settings.environment_file:
        return {}
    path = Path(settings.environment_file).absolute()
    origin = f"SERVERFULL_ENVIRONMENT_FILE={settings.environment_file}"
    variables = read_dotenv(str(path), origin)
    if readable_by_others(path.parent, [path.name]):
        LOGGER.warning("%s: other users of this machine can read the file; run chmod o-r %s", origin, path)
    return variables


def _overrides(settings: Settings, fetcher: Fetcher) -> dict[str, dict[str, str]]:
    """Return the variables of ``--env-vars`` by function name. Log a warning for a name that no function has."""
    if not settings.env_vars:
        return {}
    origin = f"--env-vars {settings.env_vars}"
    sections, ids = read_sam_variables(settings.env_vars, origin), logical_ids(fetcher)
    names = {name: {name, ids.get(name, name)} for name in {it.name for it in list_functions(fetcher)}}
    refused = {*reporting(fetcher).refused(), *(ids.get(name, name) for name in reporting(fetcher).refused())}
    if unknown := sections.keys() - {FOR_ALL} - refused - set().union(*names.values()):
        LOGGER.warning("%s: there is no function %s; its variables have no effect", origin, ", ".join(sorted(unknown)))
    for function in list_functions(fetcher):
        if function.code is None and settings.executor != "process" and names[function.name] & sections.keys():
            LOGGER.warning("%s: function %s runs in the server's process, without variables", origin, function.name)
    return {name: overrides_of(sections, *ids_and_name) for name, ids_and_name in names.items()}


def create_queue(settings: Settings, stats: Stat | None = None) -> EventQueue:
    """Return the event queue: a SQLite file unless SERVERFULL_EVENTS names memory or a broker."""
    metrics = Metrics(stats) if stats else None
    if settings.events == "memory":
        return MemoryQueue(
            size=settings.events_queue_size, workers=settings.events_workers, drain=settings.drain, metrics=metrics
        )
    delays = Delays(
        settings.events_retry_delays, settings.events_throttle_delays[0], settings.events_throttle_delays[-1]
    )
    if settings.has_broker:
        return _celery_queue(settings, delays, metrics)
    return SqliteQueue(
        store_path(settings),
        owner=settings.events_owner or os.getcwd(),
        workers=settings.events_workers,
        drain=settings.drain,
        lease=settings.events_lease,
        retention=settings.events_retention,
        max_bytes=settings.events_max_bytes,
        delays=delays,
        endpoint=settings.events_destinations_endpoint or None,
        metrics=metrics,
    )


def _celery_queue(settings: Settings, delays: Delays, metrics: Metrics | None) -> EventQueue:
    with needs_extra("celery", f"SERVERFULL_EVENTS={settings.events.partition('://')[0]}://..."):
        from serverfull_wsgi.queues.celery.queue import CeleryQueue
    return CeleryQueue(
        settings.events,
        name=settings.events_queue_name,
        lease=settings.events_lease,
        delays=delays,
        endpoint=settings.events_destinations_endpoint or None,
        metrics=metrics,
    )


def store_path(settings: Settings) -> Path:
    """Return the path of the events' SQLite file. It is absolute, since a process may change its working directory.

    Raises `ConfigurationError` if events are kept in memory or by a broker.
    """
    if settings.has_broker:
        raise ConfigurationError(f"SERVERFULL_EVENTS={settings.events.partition('://')[0]}://...: {NO_LOG}")
    if settings.events == "memory":
        raise ConfigurationError(
            "SERVERFULL_EVENTS=memory: events in memory are lost with their process, so there is no store to open"
        )
    named = settings.events.removeprefix("sqlite:///")
    return Path(named or Path(settings.data_dir, "events.sqlite3")).absolute()


def configure_logging(settings: Settings) -> None:
    """Set up the server's logger."""
    configure(LOGGER, output=settings.logger_output, level=settings.logger_level, format=settings.logger_format)


def log_notices(settings: Settings) -> None:
    """Log the notices about old and misspelt names of settings. A notice that `create_app` has logged is left out."""
    for notice in settings.notices:
        if notice not in _logged_notices:
            LOGGER.warning("%s", notice)
            _logged_notices.add(notice)


def create_fetcher(settings: Settings, fetcher: Fetcher | None = None) -> Fetcher:
    """Return ``fetcher``, or the one that the settings describe; wrapped in a `MockingFetcher` in mock mode."""
    return _mocked(settings, fetcher or _configured_fetcher(settings))


def _mocked(settings: Settings, fetcher: Fetcher) -> Fetcher:
    LOGGER.disabled = False  # `logging.config` in a function's module disables every logger that it does not name
    if not settings.mock:
        return fetcher
    if settings.mock_values == "random":
        return MockingFetcher(fetcher, RandomValues(settings.mock_seed))
    return MockingFetcher(fetcher)


def create_registry(settings: Settings, configured: Fetcher) -> Registry | None:
    """Return the registry of SERVERFULL_REGISTRY, or None if the setting is empty.

    ``configured`` has the functions of the configuration, whose names cannot be deployed. Raises `ConfigurationError`.
    """
    if not settings.registry:
        return None
    origin = f"SERVERFULL_REGISTRY={settings.registry}"
    if "://" in settings.registry:
        raise ConfigurationError(f"{origin}: only a directory is supported; name a directory on a local disk")
    store = DirectoryStore(Path(settings.registry))
    try:
        store.check()
    except ConfigurationError as error:
        raise ConfigurationError(f"{origin}: {error}") from None
    source = S3Source(settings.region, settings.s3_endpoint) if importlib.util.find_spec("boto3") else None
    return Registry(
        store,
        PackageStore(store, _package_cache(settings, "deployed"), source),
        Account(settings.region, settings.account_id, frozenset(parse_mounts(settings.mounts))),
        layers=Layers(parse_layers(settings.layers), Packages(_package_cache(settings, "packages"))),
        is_served_elsewhere=FallbackFetcher(configured, StaticFetcher({})).is_configured,
    )


def _package_cache(settings: Settings, folder: str) -> PackageCache:
    """Return the cache of unpacked archives in a folder of the data directory."""
    return PackageCache(Path(settings.data_dir, folder).absolute(), may_create=settings.creates_files)


def _with_registry(configured: Fetcher, registry: Registry) -> Fetcher:
    """Return the functions of the configuration and those of the registry. Log a warning for names that both have."""
    fetcher = FallbackFetcher(configured, RegistryFetcher(registry))
    if hidden := [name for name in registry.names() if fetcher.is_configured(name)]:
        LOGGER.warning(
            "registry: %s %s deployed, but the configuration's function of this name is served; rename or delete one",
            ", ".join(hidden),
            "is" if len(hidden) == 1 else "are",
        )
    return fetcher


def _configured_fetcher(settings: Settings) -> Fetcher:
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
        LOGGER.warning("%s cannot run: calls are answered with 409; 'serverfull check' lists the reasons", names)
    if not fetcher.functions() and not refused and not settings.registry:
        LOGGER.warning(NO_FUNCTIONS)
    return fetcher


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
        return path
    return ""


def _declares_functions(path: str) -> bool:
    try:
        return bool(_declaration.search(Path(path).read_bytes()))
    except OSError:  # `SamFetcher` reports it
        return True


def _from_template(settings: Settings, path: str) -> ListableFetcher:
    with needs_extra("sam", f"SERVERFULL_TEMPLATE={path}" if settings.template else f"the template {path}"):
        from serverfull_wsgi.fetchers.sam.fetcher import SamFetcher
        from serverfull_wsgi.fetchers.sam.parameters import parse_parameters
    parameters = parse_parameters(settings.template_parameters)
    return SamFetcher(
        path,
        parameters,
        region=settings.region,
        account_id=settings.account_id,
        layers=parse_layers(settings.layers),
        cache=_package_cache(settings, "packages"),
        strict=settings.template_strict,
        has_front=bool(settings.front),
    )


def create_authentication(settings: Settings) -> Callable[[WSGIApplication], WSGIApplication] | None:
    """Return the middleware that checks signatures, or None if no credentials file is set."""
    if not settings.credentials_file:
        return None
    from serverfull_wsgi.auth.sigv4.middleware import SigV4Middleware  # imports AWS's API model

    return partial(
        SigV4Middleware,
        credentials=CredentialsFile(settings.credentials_file),
        region=settings.region,
        account_id=settings.account_id,
        open_paths=(settings.healthcheck,),
        deploys=bool(settings.registry),
        replay_guard=settings.replay_guard,
    )


def create_stats(settings: Settings) -> Stat | None:
    """Return the statsd client, or None if metrics are off."""
    if settings.stats_output == "NULL":
        return None
    tags = settings.stats_tags if settings.stats_output == "DATADOG" else None
    return UdpStats(*settings.stats_address, prefix=settings.stats_prefix, tags=tags)
