"""Functions: their code and their configuration."""

from __future__ import annotations

import io

from serverfull_wsgi.api.management import downloads
from serverfull_wsgi.api.management.calls import Call, Members
from serverfull_wsgi.api.management.service import Management
from serverfull_wsgi.api.model import recorded
from serverfull_wsgi.api.model.pagination import page
from serverfull_wsgi.errors import InvalidParameterValueException, ResourceConflictException
from serverfull_wsgi.names import FunctionName
from serverfull_wsgi.registry.configuration import refuse_members
from serverfull_wsgi.registry.packages import Package
from serverfull_wsgi.registry.registry import Registry

SECRETS = ("Environment",)  # members of a configuration that only some callers may see

NO_IMAGES = "This server runs no container images. Deploy a zip archive."


def create(management: Management, call: Call) -> Members:
    """Create a function from a package."""
    registry = management.writable(call)
    code = call.parameters["Code"]
    _check(code, call.parameters)
    if registry.read(call.named.name) is not None:  # before the package is stored for nothing
        raise ResourceConflictException(f"Function already exist: {call.named.name}")
    return registry.create_function(call.named.name, call.parameters, _package(registry, code), call.caller.name)


def get(management: Management, call: Call) -> Members:
    """Return a function's configuration, the link to its code, its tags and its reserved concurrency."""
    name = call.named
    result: Members = {"Configuration": shown(call, management.configuration(name))}
    if registry := management.deployed(name.name):
        code: Members = {"RepositoryType": "S3"}
        if call.caller.may_see_all:
            code["Location"] = downloads.link(call.url, registry.package(name.name, name.qualifier), registry.secret())
        result["Code"] = code
        if tags := registry.tags(name.name):
            result["Tags"] = dict(tags)
    if concurrency := management.concurrency(name):
        result["Concurrency"] = concurrency
    return result


def get_configuration(management: Management, call: Call) -> Members:
    """Return a function's configuration."""
    return shown(call, management.configuration(call.named))


def list_all(management: Management, call: Call) -> Members:
    """Return a page of the functions that the caller may see. ``MasterRegion`` has no effect: there are no replicas."""
    if call.parameters.get("FunctionVersion") == "ALL":
        items = [item for item in management.all_versions() if call.caller.may_read(_named(management, item))]
        result = page(call.operation, sorted(items, key=_place), call.parameters, _place)
    else:
        names = management.names()
        if not call.caller.may_read_all:
            names = [name for name in names if call.caller.may_read(management.name(name))]
        result = page(call.operation, names, call.parameters, str)
        result["Functions"] = list(management.existing(result["Functions"]))
    result["Functions"] = [recorded.list_item(shown(call, item)) for item in result["Functions"]]
    return result


def update_code(management: Management, call: Call) -> Members:
    """Give a function other code."""
    registry = management.writable(call)
    _check(call.parameters, call.parameters)
    registry.get(call.named.name)  # before the package is stored for nothing
    package = _package(registry, call.parameters, dry_run=call.parameters.get("DryRun", False))
    return registry.update_code(call.named.name, call.parameters, package, call.caller.name)


def update_configuration(management: Management, call: Call) -> Members:
    """Change members of a function's configuration."""
    registry = management.writable(call)
    return registry.update_configuration(call.named.name, call.parameters, call.caller.name)


def delete(management: Management, call: Call) -> Members:
    """Delete a function, or one version of a function."""
    management.writable(call).delete_function(call.named.name, call.named.qualifier, call.caller.name)
    return {}


def shown(call: Call, configuration: Members) -> Members:
    """Return the members of a configuration that the caller may see."""
    if call.caller.may_see_all:
        return configuration
    return {name: value for name, value in configuration.items() if name not in SECRETS}


def _named(management: Management, item: Members) -> FunctionName:
    return management.name(item["FunctionName"], item["Version"])


def _place(item: Members) -> str:
    """Return the sort key of an item: by name, ``$LATEST`` first, then by number. No name has a blank."""
    version = f"{item['Version']:0>20}" if item["Version"].isdigit() else ""
    return f"{item['FunctionName']} {version}"


def _check(code: Members, members: Members) -> None:
    """Raise `InvalidParameterValueException` for members that this server does not support, before code is stored."""
    if code.get("ImageUri") or members.get("PackageType") == "Image":
        raise InvalidParameterValueException(NO_IMAGES)
    refuse_members({**members, **code})


def _package(registry: Registry, code: Members, *, dry_run: bool = False) -> Package | None:
    """Store the package of a request, and return the registry's package; None if the request has no code.

    A package in S3 is copied. A dry run only checks the package.
    """
    content, bucket, key = code.get("ZipFile"), code.get("S3Bucket"), code.get("S3Key")
    if content is not None and (bucket or key):
        raise InvalidParameterValueException(
            "Please do not provide other FunctionCode parameters when providing a ZipFile."
        )
    if content is not None:
        file = io.BytesIO(content)
        return registry.packages.check(file) if dry_run else registry.packages.add(file)
    if bucket and key:
        return registry.packages.fetch(bucket, key, code.get("S3ObjectVersion"), dry_run=dry_run)
    if bucket or key:
        raise InvalidParameterValueException("A package in S3 needs both S3Bucket and S3Key.")
    return None
