"""Changes of functions: create, update and delete. Pure: a document and a request give a document and an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serverfull_wsgi.errors import InvalidParameterValueException, ResourceConflictException
from serverfull_wsgi.names import LATEST
from serverfull_wsgi.registry import views
from serverfull_wsgi.registry.account import Account
from serverfull_wsgi.registry.configuration import (
    SizeOf,
    changed_configuration,
    new_configuration,
    refuse_members,
    with_package,
)
from serverfull_wsgi.registry.documents import (
    FORMAT,
    Change,
    Configuration,
    Document,
    Moment,
    check_revision,
    weights_of,
)
from serverfull_wsgi.registry.packages import Package
from serverfull_wsgi.registry.tags import check_count
from serverfull_wsgi.registry.versions import published

NAME_LIMIT = 64  # characters; AWS's pattern of the parameter permits 140, for ARNs
NO_CODE = "Please provide a source for function code."


def create(
    document: Document | None,
    moment: Moment,
    *,
    name: str,
    request: Mapping[str, Any],
    package: Package | None,
    account: Account,
    layer_size: SizeOf,
) -> Change:
    """Create a function, and its version 1 if the request says ``Publish``.

    Raises:
        ResourceConflictException: if the function exists.
        InvalidParameterValueException: for members that cannot be in force.
    """
    if document is not None:
        raise ResourceConflictException(f"Function already exist: {name}")
    if len(name) > NAME_LIMIT:
        raise InvalidParameterValueException(
            f"1 validation error detected: Value '{name}' at 'functionName' failed to satisfy constraint: "
            f"Member must have length less than or equal to {NAME_LIMIT}"
        )
    if package is None:
        raise InvalidParameterValueException(NO_CODE)
    check_count(request.get("Tags", {}))
    refuse_members(request.get("Code", {}))
    configuration = _stamped(new_configuration(name, request, package, account, layer_size), moment)
    new = Document(
        format=FORMAT,
        name=name,
        revision=1,
        latest=configuration,
        versions={},
        next_version=1,
        published=None,
        aliases={},
        tags=dict(request.get("Tags", {})),
        reserved=None,
    )
    shown = configuration
    if request.get("Publish"):
        new, shown = published(new, moment)
    return Change(new, views.pending(shown, account.arn(name), moment.new_id()))


def update_code(
    document: Document, moment: Moment, *, request: Mapping[str, Any], package: Package | None, account: Account
) -> Change:
    """Replace a function's code. With ``Publish`` also publish a version; with ``DryRun`` only check and answer.

    Raises:
        PreconditionFailedException: if the request has a RevisionId that is not the latest.
        InvalidParameterValueException: for members that cannot be in force.
    """
    check_revision(document["latest"], request)
    if request.get("ImageUri"):
        raise InvalidParameterValueException(
            "Please don't provide ImageUri when updating a function with packageType Zip."
        )
    refuse_members(request)
    if package is None:
        raise InvalidParameterValueException(NO_CODE)
    name = document["name"]
    latest = _stamped(with_package(document["latest"], package, request.get("Architectures")), moment)
    new = _with_latest(document, latest)
    if request.get("DryRun"):
        return Change(document, views.active(latest, account.arn(name)))
    if request.get("Publish"):
        new, version = published(new, moment)
        return Change(new, views.pending(version, account.arn(name, version["Version"]), moment.new_id()))
    return Change(new, views.in_progress(latest, account.arn(name), moment.new_id()))


def update_configuration(
    document: Document, moment: Moment, *, request: Mapping[str, Any], account: Account, layer_size: SizeOf
) -> Change:
    """Change the members of a function's configuration that the request has. Raises as `update_code`."""
    check_revision(document["latest"], request)
    latest = _stamped(changed_configuration(document["latest"], request, account, layer_size), moment)
    answer = views.in_progress(latest, account.arn(document["name"]), moment.new_id())
    return Change(_with_latest(document, latest), answer)


def check_deletion(qualifier: str | None) -> None:
    """Raise `InvalidParameterValueException` for a qualifier that cannot be deleted, even of an unknown function."""
    if qualifier == LATEST:
        raise InvalidParameterValueException("$LATEST version cannot be deleted without deleting the function.")
    if qualifier and not qualifier.isdecimal():
        raise InvalidParameterValueException("Deletion of aliases is not currently supported.")


def delete(document: Document, moment: Moment, *, qualifier: str | None) -> Change:
    """Delete a function, or one version. A version that does not exist is not an error, as on AWS.

    Raises:
        ResourceConflictException: if an alias refers to the version.
    """
    if qualifier is None:
        return Change(None, {})
    if qualifier not in document["versions"]:
        return Change(document, {})
    users = [
        name
        for name, alias in document["aliases"].items()
        if qualifier in (alias["FunctionVersion"], *weights_of(alias))
    ]
    if users:
        raise ResourceConflictException(
            f"Unable to delete version because the following aliases reference it: [{', '.join(users)}]"
        )
    versions = {number: it for number, it in document["versions"].items() if number != qualifier}
    return Change({**document, "versions": versions}, {})


def _stamped(configuration: Configuration, moment: Moment) -> Configuration:
    return {
        **configuration,
        "LastModified": views.last_modified(moment.seconds),
        "RevisionId": moment.new_id(),
    }


def _with_latest(document: Document, latest: Configuration) -> Document:
    return {**document, "latest": latest}
