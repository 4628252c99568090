"""Functions declared in a SAM or CloudFormation template (the extra ``sam``)."""

from __future__ import annotations

import os.path
from collections.abc import Mapping

from serverfull_wsgi.domain import Function
from serverfull_wsgi.errors import ConfigurationError, NotFoundError, ResourceConflictException
from serverfull_wsgi.fetchers.sam.code import Sources
from serverfull_wsgi.fetchers.sam.functions import Declared, declared
from serverfull_wsgi.fetchers.sam.intrinsics import Resolver
from serverfull_wsgi.fetchers.sam.parameters import SETTING, Unresolvable, check_parameters
from serverfull_wsgi.fetchers.sam.template import FUNCTION_TYPES, Template
from serverfull_wsgi.fetchers.static import StaticFetcher
from serverfull_wsgi.names import LATEST

_NESTED = ("AWS::Serverless::Application", "AWS::CloudFormation::Stack")


class SamFetcher(StaticFetcher):
    """Serves the functions of a template, each under its FunctionName, or its logical id where it has none.

    ``parameters`` give values to the template's parameters, and to what only AWS would know: ``{"Table": "users"}`` to
    the Ref of a resource, ``{"Table.StreamArn": "…"}`` to its attribute. AutoPublishAlias makes the version ``1`` and
    the alias. ``region`` and ``account_id`` are what AWS::Region and AWS::AccountId stand for.

    A function that cannot run does not keep the others from it: `fetch` then raises `ResourceConflictException` with
    the reasons, which `problems` lists.

    Raises `ConfigurationError` for a file that is no template or declares no function, for two functions of one name,
    and for parameters that the template does not have or allow.
    """

    def __init__(
        self,
        path: str,
        parameters: Mapping[str, str] | None = None,
        *,
        region: str = "us-east-1",
        account_id: str = "123456789012",
    ) -> None:
        given = dict(parameters or {})
        self._refused: dict[str, list[str]] = {}
        try:
            self._template = template = Template(path)
            check_parameters(template.parameters, given)
            self._resolver = Resolver(
                parameters=template.parameters,
                mappings=template.mappings,
                conditions=template.conditions,
                resources=template.resources,
                given=given,
                region=region,
                account_id=account_id,
            )
            functions, aliases = self._read(Sources(template, self._resolver))
        except RecursionError:
            raise ConfigurationError(f"{path}:1: this is nested too deeply to be read; write it flatter") from None
        super().__init__(functions, aliases)
        self._check_names(given)

    def _read(self, sources: Sources) -> tuple[dict[str, Function], dict[str, str]]:
        functions: dict[str, Function] = {}
        aliases: dict[str, str] = {}
        nameless: list[Declared] = []
        for id in self._template.of_type(*FUNCTION_TYPES):
            try:
                if not self._resolver.is_made(id):
                    continue
            except Unresolvable as reason:
                self._refused[id] = [f"{self._template.where(id)}.Condition: {reason}"]
                continue
            one = declared(self._template, self._resolver, sources, id)
            name = one.function.name
            if name != one.written:
                nameless.append(one)
            elif name in functions or name in self._refused:
                raise ConfigurationError(
                    f"{self._template.where(id)}: another function is named {name!r}; give one another name"
                )
            elif one.problems:
                self._refused[name] = one.problems
            else:
                functions[name] = one.function
                if one.alias:
                    functions[f"{name}:1"] = one.function
                    aliases[f"{name}:{one.alias}"] = "1"
        for one in nameless:
            name = one.function.name
            self._refused[one.written if name in functions or name in self._refused else name] = one.problems
        return functions, aliases

    def _check_names(self, given: Mapping[str, str]) -> None:
        known = {*self._template.parameters, *self._template.resources, *self._resolver.used, "AWS::StackName"}
        unknown = [name for name in given if name not in known and name.partition(".")[0] not in known]
        if unknown:
            raise ConfigurationError(
                f"{SETTING}: {self._template.path} has no {', '.join(map(repr, unknown))}; its parameters are: "
                f"{', '.join(self._template.parameters) or 'none'}"
            )

    def fetch(self, name: str, qualifier: str = LATEST) -> Function:
        try:
            return super().fetch(name, qualifier)
        except NotFoundError:
            if name in self._refused:
                raise ResourceConflictException("\n".join(map(self._for_callers, self._refused[name]))) from None
            raise

    def _for_callers(self, line: str) -> str:
        """A line without the folder of the template, which is nobody's business but the operator's."""
        return os.path.basename(self._template.path) + line.removeprefix(self._template.path)

    def refused(self) -> dict[str, list[str]]:
        """The functions that cannot run, by name, with the lines that say why."""
        return dict(self._refused)

    def problems(self) -> list[str]:
        """Every line that says why something declared here cannot run."""
        lines = [line for problems in self._refused.values() for line in problems]
        for id, resource in self._template.resources.items():
            if not isinstance(resource, dict) or "Type" not in resource:
                lines.append(f"{self._template.where(id)}: this is no resource with a Type; write it out")
        return list(dict.fromkeys(lines))

    def notes(self) -> list[str]:
        """What is served differently from what the template's author may expect."""
        lines = [
            f"{self._template.where(id)}.{property}: this is missing, so AWS would make up a name; here it is {id!r}, "
            f"unless {SETTING}='{id}=…' gives another"
            for id, property in self._resolver.assumed.items()
        ]
        for id in self._template.of_type(*_NESTED):
            lines.append(f"{self._template.where(id)}: the functions of nested applications are not served")
        return lines
