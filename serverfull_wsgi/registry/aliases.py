"""Changes of aliases, with their weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serverfull_wsgi.errors import (
    InvalidParameterValueException,
    ResourceConflictException,
    ResourceNotFoundException,
    UntypedInvalidParameterValue,
)
from serverfull_wsgi.names import LATEST
from serverfull_wsgi.registry import views
from serverfull_wsgi.registry.account import Account
from serverfull_wsgi.registry.documents import Alias, Change, Document, Moment, check_revision, weights_of


def create(document: Document, moment: Moment, *, request: Mapping[str, Any], account: Account) -> Change:
    """Create an alias.

    Raises:
        ResourceConflictException: if it exists.
        ResourceNotFoundException: if a version does not exist.
        InvalidParameterValueException: for weights that AWS refuses.
    """
    name = request["Name"]
    alias = _alias({"Name": name, "Description": ""}, request, moment)
    _check(document, alias, account)
    if name in document["aliases"]:
        raise ResourceConflictException(f"Alias already exists: {account.arn(document['name'], name)}")
    return _changed(document, alias, account)


def update(document: Document, moment: Moment, *, name: str, request: Mapping[str, Any], account: Account) -> Change:
    """Change the members of an alias that the request has. An empty RoutingConfig removes the weights.

    Raises:
        PreconditionFailedException: if the request has a RevisionId that is not the alias's.
        ResourceNotFoundException: if the alias or a version does not exist.
        InvalidParameterValueException: for weights that AWS refuses.
    """
    old = document["aliases"].get(name)
    if old is None:
        raise ResourceNotFoundException(f"Alias not found: {account.arn(document['name'], name)}")
    check_revision(old, request)
    alias = _alias(old, request, moment)
    _check(document, alias, account)
    return _changed(document, alias, account)


def delete(document: Document, moment: Moment, *, name: str) -> Change:
    """Delete an alias. One that does not exist is not an error, as on AWS."""
    if name not in document["aliases"]:
        return Change(document, {})
    return Change({**document, "aliases": {key: it for key, it in document["aliases"].items() if key != name}}, {})


def _alias(old: Alias, request: Mapping[str, Any], moment: Moment) -> Alias:
    """Return an alias with the members of a request and a new RevisionId."""
    given = {key: request[key] for key in ("FunctionVersion", "Description", "RoutingConfig") if key in request}
    alias = {**old, **given, "RevisionId": moment.new_id()}
    if not weights_of(alias):
        alias.pop("RoutingConfig", None)
    return alias


def _check(document: Document, alias: Alias, account: Account) -> None:
    version, weights = alias["FunctionVersion"], weights_of(alias)
    if len(weights) > 1:
        raise InvalidParameterValueException("Number of items in AdditionalVersionWeights cannot be greater than 1")
    if version in weights:
        raise InvalidParameterValueException(
            f"Invalid function version {version}. Function version {version} is already included in routing "
            "configuration."
        )
    if version == LATEST and weights:
        raise UntypedInvalidParameterValue("$LATEST is not supported for an alias pointing to more than 1 version")
    for number in (version, *weights):
        if number != LATEST and number not in document["versions"]:
            raise account.not_found(document["name"], number)


def _changed(document: Document, alias: Alias, account: Account) -> Change:
    new: Document = {**document, "aliases": {**document["aliases"], alias["Name"]: alias}}
    return Change(new, views.alias(account, new, alias["Name"]))
