"""`SamFetcher`: functions declared in a SAM or CloudFormation template (the extra ``sam``)."""

from __future__ import annotations

import os.path
from collections.abc import Mapping
from dataclasses import replace

from serverfull_wsgi.domain import Function
from serverfull_wsgi.errors import ConfigurationError, NotFoundError, ResourceConflictException
from serverfull_wsgi.fetchers.sam.aliases import VERSION, read_versions
from serverfull_wsgi.fetchers.sam.code import CodeLocator
from serverfull_wsgi.fetchers.sam.functions import DeclaredFunction, EventResources, read_function
from serverfull_wsgi.fetchers.sam.intrinsics import Resolver
from serverfull_wsgi.fetchers.sam.notes import Notes
from serverfull_wsgi.fetchers.sam.parameters import SETTING, Unresolvable, check_parameters
from serverfull_wsgi.fetchers.sam.template import FUNCTION_TYPES, Template
from serverfull_wsgi.fetchers.sam.unserved import add_unknown_names, add_unserved
from serverfull_wsgi.fetchers.static import StaticFetcher
from serverfull_wsgi.names import DEFAULT_ACCOUNT_ID, DEFAULT_REGION, LATEST
from serverfull_wsgi.storage.package_cache import PackageCache


class SamFetcher(StaticFetcher):
    """Serve the functions of a SAM or CloudFormation template (YAML or JSON; the extra ``sam``).

    A function has its FunctionName, or its logical id if it has none. AutoPublishAlias adds version ``1`` and the
    alias, as AWS::Lambda::Version and AWS::Lambda::Alias do. Layers, Globals, parameters, conditions and the usual
    intrinsic functions are supported.

    A function that cannot run, for example because its runtime is not supported, does not affect the others. `fetch`
    then raises `ResourceConflictException` (409) with the reasons, and `problems` lists them.

    Args:
        path: the template's file. Relative paths in the template start at its directory.
        parameters: values for the template's parameters, and for values that only AWS has: ``{"Table": "users"}`` for
            the Ref of a resource, ``{"Table.StreamArn": "arn:…"}`` for its attribute, ``{"AWS::StackName": "shop"}``.
        region: the value of AWS::Region.
        account_id: the value of AWS::AccountId.
        layers: folders or zip archives by the ARN of a layer at AWS, with or without its version.
        cache: keeps unpacked archives for later starts; None to unpack them for this process only.
        strict: if True, a function with a value that only AWS has cannot run. Otherwise the function starts with a
            stand-in, such as ``unresolved:Table.StreamArn``, and `notes` has a warning.
        has_front: True if the APIs and function URLs of the template are served. Otherwise `notes` has a warning.

    Attributes:
        template: the template.
        resolver: resolves the template's values.

    Raises:
        ConfigurationError: if the file is not a template, declares no function, or uses a FunctionName twice; and if
            the template does not have or does not allow a parameter. The message has file and line.
    """

    def __init__(
        self,
        path: str,
        parameters: Mapping[str, str] | None = None,
        *,
        region: str = DEFAULT_REGION,
        account_id: str = DEFAULT_ACCOUNT_ID,
        layers: Mapping[str, str] | None = None,
        cache: PackageCache | None = None,
        strict: bool = False,
        has_front: bool = False,
    ) -> None:
        values = dict(parameters or {})
        self._refused: dict[str, list[str]] = {}
        self._logical_ids: dict[str, str] = {}
        try:
            self.template = template = Template(path)
            check_parameters(template.parameters, values)
            self.resolver = Resolver(
                parameters=template.parameters,
                mappings=template.mappings,
                conditions=template.conditions,
                resources=template.resources,
                values=values,
                region=region,
                account_id=account_id,
                strict=strict,
            )
            self._code = CodeLocator(template, self.resolver, layers or {}, cache)
            self._notes = Notes(template)
            functions, aliases = self._read(self._code)
            self._add_notes(has_front)
        except RecursionError:
            raise ConfigurationError(f"{path}:1: the template is nested too deeply; write it flatter") from None
        super().__init__(functions, aliases)
        self._check_names(values)

    def _read(self, code: CodeLocator) -> tuple[dict[str, Function], dict[str, str]]:
        """Return the functions that can run, and the aliases; put the others into ``_refused``."""
        functions: dict[str, Function] = {}
        aliases: dict[str, str] = {}
        renamed: list[DeclaredFunction] = []
        event_resources = EventResources(self.template, self.resolver)
        for id in self.template.of_type(*FUNCTION_TYPES):
            try:
                if not self.resolver.is_created(id):
                    continue
            except Unresolvable as reason:
                self._refused[id] = [f"{self.template.location(id)}.Condition: {reason}"]
                continue
            declared = read_function(self.template, self.resolver, code, event_resources, self._notes, id)
            name = declared.function.name
            self._logical_ids[name] = id
            if name != declared.declared_name:
                renamed.append(declared)
            elif name in functions or name in self._refused:
                raise ConfigurationError(
                    f"{self.template.location(id)}: another function has the name {name!r}; rename one of them"
                )
            else:
                self._add(declared, functions, aliases)
        for declared in renamed:  # last: the logical id may be another function's name, and that function has it
            name = declared.function.name
            if name not in functions and name not in self._refused:
                self._add(declared, functions, aliases)
            else:
                self._refused[declared.declared_name] = [*declared.problems] or [*declared.unknown_name]
        for function, alias, version in read_versions(self.template, self.resolver, self._notes):
            if function in functions:
                functions.setdefault(f"{function}:{VERSION}", functions[function])
                if alias:
                    aliases[f"{function}:{alias}"] = version
        return functions, aliases

    def _add(self, declared: DeclaredFunction, functions: dict[str, Function], aliases: dict[str, str]) -> None:
        """Add a function with its version and alias, or its problems if it cannot run."""
        name = declared.function.name
        if declared.problems:
            self._refused[name] = declared.problems
            return
        functions[name] = declared.function
        if declared.alias:  # as on AWS, provisioned concurrency is the version's
            functions[name] = replace(declared.function, provisioned=None)
            functions[f"{name}:1"] = declared.function
            aliases[f"{name}:{declared.alias}"] = "1"

    def _check_names(self, values: Mapping[str, str]) -> None:
        """Raise `ConfigurationError` for a value that nothing in the template can use."""
        template = self.template
        unknown = [name for name in values if name != "AWS::StackName" and not self.resolver.is_name(name)]
        if unknown:
            raise ConfigurationError(
                f"{SETTING}: {template.path} has no {', '.join(map(repr, unknown))}; its parameters are: "
                f"{', '.join(template.parameters) or 'none'}"
            )

    def fetch(self, name: str, qualifier: str = LATEST) -> Function:
        """Return the function.

        Raises `NotFoundError` if the template has none of this name, and `ResourceConflictException` if it has one that
        cannot run.
        """
        try:
            return super().fetch(name, qualifier)
        except NotFoundError:
            if name in self._refused:
                raise ResourceConflictException("\n".join(map(self._for_callers, self._refused[name]))) from None
            raise

    def _for_callers(self, line: str) -> str:
        """Return a problem's line without the template's directory, which callers must not see."""
        return os.path.basename(self.template.path) + line.removeprefix(self.template.path)

    def refused(self) -> dict[str, list[str]]:
        """Return the functions that cannot run, by name, each with the lines that give the reasons."""
        return dict(self._refused)

    def problems(self) -> list[str]:
        """Return one line for each reason, over all functions, and for each resource without a Type."""
        lines = [line for problems in self._refused.values() for line in problems]
        for id, resource in self.template.resources.items():
            if not isinstance(resource, dict) or "Type" not in resource:
                lines.append(f"{self.template.location(id)}: is not a resource with a Type; write the resource out")
        return list(dict.fromkeys(lines))

    def notes(self) -> list[str]:
        """Return one warning for each subject: generated names, features that are not served, and unknown names."""
        return self._notes.lines() + self._code.unused_layers()

    def _add_notes(self, has_front: bool) -> None:
        for id, property in self.resolver.generated_names.items():
            self._notes.add(id, property, f"is missing, so AWS would generate a name; {_name_here(id)}")
        for id, name in self.resolver.generated_roles.items():
            self._notes.add(id, "Role", f"is missing, so AWS would generate a role; {_name_here(name)}")
        add_unserved(self.template, self.resolver, self._notes, has_front=has_front)
        add_unknown_names(self.template, self._notes)

    def logical_ids(self) -> dict[str, str]:
        """Return the logical ids of the functions, by name."""
        return dict(self._logical_ids)

    def template_fetchers(self) -> list[SamFetcher]:
        """Return this fetcher; see `abilities.template_fetchers`."""
        return [self]

    def watched_paths(self) -> list[str]:
        """Return the template, and the documents and packages that it names, with those that do not exist yet."""
        return [self.template.path, *self.template.documents, *self._code.packages]


def _name_here(name: str) -> str:
    return f"the name here is {name!r}; set {SETTING}='{name}=…' for another name"
