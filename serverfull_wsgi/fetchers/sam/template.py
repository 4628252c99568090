"""A SAM or CloudFormation template as text: YAML with CloudFormation's tags, or JSON (the extra ``sam``: PyYAML)."""

from __future__ import annotations

import contextlib
import gc
import json
import os.path
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any, NoReturn

import yaml

from serverfull_wsgi.errors import ConfigurationError

try:
    from yaml import CSafeLoader as SafeLoader  # ten times as fast, but some builds of PyYAML lack it
except ImportError:
    from yaml import SafeLoader  # type: ignore[assignment]

SERVERLESS_FUNCTION, LAMBDA_FUNCTION = "AWS::Serverless::Function", "AWS::Lambda::Function"
FUNCTION_TYPES = (SERVERLESS_FUNCTION, LAMBDA_FUNCTION)
_json_token = re.compile(r'("[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]])(\s*:)?', re.DOTALL)
MAX_NODES = 500_000  # values of a template, of which AWS accepts 1 MB; aliases of YAML could stand for billions
_alias = re.compile(r"[\s\[{,:]\*[^\s\[\]{},*'\"]")
_CURE = "name a SAM or CloudFormation template, in YAML or JSON"
_DOCUMENT_CURE = "name an OpenAPI document, in YAML or JSON; a relative path starts at the template's folder"


class Template:
    """The sections of a template, with the Globals merged into the functions.

    Args:
        path: the template's file.

    Attributes:
        directory: the absolute path at which relative paths in the template start.
        parameters, mappings, conditions: the sections, by name.
        resources: the resources by logical id, with the Globals merged into the functions.
        declared: the resources as the file has them.
        globals: the section Globals.
        sections: all sections, as the file has them.
        documents: the files that `read_document` looked for.

    Raises:
        ConfigurationError: if the file cannot be read, is not a template, or declares no function. The message has
            file and line.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.directory = os.path.dirname(os.path.abspath(path))
        self.documents: list[str] = []
        sections, self._lines = _parse(path, _text(path, _CURE))
        if not isinstance(sections, dict) or not isinstance(sections.get("Resources"), dict):
            self._refuse(1, f"a template must be a mapping with 'Resources'; {_CURE}")
        self.parameters = self._section(sections, "Parameters")
        self.mappings = self._section(sections, "Mappings")
        self.conditions = self._section(sections, "Conditions")
        self.sections: dict[str, Any] = sections
        self.declared: dict[str, Any] = sections["Resources"]
        self.resources = dict(self.declared)
        if not self.of_type(*FUNCTION_TYPES):
            self._refuse(self.line("Resources"), f"there is no {' and no '.join(FUNCTION_TYPES)}; {_CURE}")
        self.globals = self._section(sections, "Globals")
        common = self._section(self.globals, "Function")
        for id, resource in self.of_type(SERVERLESS_FUNCTION).items():
            own = resource.get("Properties") or {}
            properties = merge_globals(_without(common, resource.get("IgnoreGlobals")), own)
            self.resources[id] = {**resource, "Properties": properties}

    def of_type(self, *types: str) -> dict[str, dict[str, Any]]:
        """Return the resources of these types by logical id."""
        return {
            id: resource
            for id, resource in self.resources.items()
            if isinstance(resource, dict) and resource.get("Type") in types
        }

    def line(self, name: str) -> int:
        """Return the line, from 1, at which a resource or section begins; 1 if it is not found."""
        return self._lines.get(name, 1)

    def location(self, name: str) -> str:
        """Return the beginning of a message about a resource: ``template.yaml:12: HelloFunction``."""
        return f"{self.path}:{self.line(name)}: {name}"

    def read_document(self, location: str) -> dict[str, Any]:
        """Return the mapping in a file, in YAML or JSON. A relative path starts at the template's folder.

        Raises `ConfigurationError` if the file cannot be read, or is not a mapping. The message has the path.
        """
        path = os.path.join(self.directory, location)
        self.documents.append(path)
        document, _ = _parse(path, _text(path, _DOCUMENT_CURE))
        if not isinstance(document, dict):
            raise ConfigurationError(f"{path}:1: a document must be a mapping; {_DOCUMENT_CURE}")
        return document

    def _section(self, sections: dict[str, Any], name: str) -> dict[str, Any]:
        section = sections.get(name) or {}
        if not isinstance(section, dict):
            self._refuse(self.line(name), f"'{name}' must be a mapping; write 'name: value' below it")
        return section

    def _refuse(self, line: int, message: str) -> NoReturn:
        raise ConfigurationError(f"{self.path}:{line}: {message}")


def merge_globals(common: Any, own: Any) -> Any:
    """Return a function's properties with the Globals: mappings are merged, lists joined, other values replaced.

    >>> merge_globals({"Environment": {"Variables": {"A": 1}}, "Timeout": 3}, {"Environment": {"Variables": {"B": 2}}})
    {'Environment': {'Variables': {'A': 1, 'B': 2}}, 'Timeout': 3}

    Source: https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-specification-template-anatomy-globals.html
    """
    if isinstance(common, list) and isinstance(own, list):
        return common + own
    if not (isinstance(common, dict) and isinstance(own, dict)) or is_intrinsic(common) or is_intrinsic(own):
        return own
    return {**common, **{name: merge_globals(common[name], own[name]) if name in common else own[name] for name in own}}


def _without(common: dict[str, Any], ignored: Any) -> dict[str, Any]:
    """Return the Globals without the properties that a resource's IgnoreGlobals names; ``"*"`` is all of them."""
    if ignored == "*":
        return {}
    names = ignored if isinstance(ignored, list) else ()
    return {name: value for name, value in common.items() if name not in names}


def is_intrinsic(value: Any) -> bool:
    """Return True for an intrinsic function: ``{"Ref": …}`` or ``{"Fn::…": …}``."""
    if not isinstance(value, dict) or len(value) != 1:
        return False
    (name,) = value
    return name == "Ref" or str(name).startswith("Fn::")


def _text(path: str, cure: str) -> str:
    try:
        with open(path, encoding="utf-8-sig") as file:
            return file.read()
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"{path}:1: the file must be UTF-8 text, and byte {error.start} is not; {cure}"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}; {cure}") from None


def _parse(path: str, text: str) -> tuple[Any, dict[str, int]]:
    """Return the document, and the line of each section and resource."""
    if text.lstrip().startswith("{"):
        try:
            return json.loads(text, object_pairs_hook=_with_single_keys), _json_lines(text)
        except ValueError as error:
            if path.endswith(".json"):
                line = getattr(error, "lineno", 1)
                raise ConfigurationError(f"{path}:{line}: not valid JSON: {error}; correct it") from None
    try:
        loader = _Loader(text)
        try:
            with _without_collections():
                node = loader.get_single_node()
                if isinstance(node, yaml.CollectionNode):
                    _check_keys(node)
                if node and _alias.search(text) and _size(node, {}) > MAX_NODES:
                    raise ValueError(f"its aliases stand for more than {MAX_NODES:,} values")
                document = loader.construct_document(node) if node else None
                # Through JSON: keys become text, and an anchor that contains itself is an error
                return json.loads(json.dumps(document)), _lines(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        has_tab = re.match(r"\s*\t", "".join(text.splitlines()[line - 1 : line]))
        cure = "YAML allows no tabs before a key; write spaces" if has_tab else "correct it"
        raise ConfigurationError(f"{path}:{line}: not valid YAML: {error.problem}; {cure}") from None
    except (yaml.YAMLError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConfigurationError(f"{path}:1: not valid YAML: {reason}; correct it") from None


def _check_keys(root: yaml.Node) -> None:
    """Raise `MarkedYAMLError` for a key that a mapping has twice: its last value would silently win."""
    nodes, seen = [root], {id(root)}
    for node in nodes:
        parts = node.value
        if isinstance(node, yaml.MappingNode):
            keys = set()
            for key, _ in node.value:
                name = key.value if isinstance(key, yaml.ScalarNode) and key.value != "<<" else id(key)
                if name in keys:
                    raise yaml.MarkedYAMLError(None, None, f"the key {name!r} is there twice", key.start_mark)
                keys.add(name)
            parts = chain.from_iterable(node.value)
        for part in parts:
            if not isinstance(part, yaml.ScalarNode) and id(part) not in seen:
                seen.add(id(part))
                nodes.append(part)


def _with_single_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON. Raises ValueError for a key that is there twice."""
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} is there twice")
    return members


def _size(node: yaml.Node, sizes: dict[int, int]) -> int:
    """Return the number of values in a node, in which each alias counts as all that it stands for.

    Args:
        node: the node.
        sizes: the sizes of nodes that are known, by their id.
    """
    if id(node) not in sizes:
        sizes[id(node)] = 1  # also for an anchor that contains itself
        parts = chain.from_iterable(node.value) if isinstance(node, yaml.MappingNode) else node.value
        if not isinstance(node, yaml.ScalarNode):
            sizes[id(node)] += sum(_size(part, sizes) for part in parts)
    return sizes[id(node)]


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """Pause the garbage collector, which takes two thirds of the parser's time: it looks at all nodes repeatedly."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _json_lines(text: str) -> dict[str, int]:
    """Return the lines of the sections and resources in valid JSON, in one pass."""
    lines: dict[str, int] = {}
    depth, section, line, counted = 0, "", 1, 0
    for match in _json_token.finditer(text):
        symbol, colon = match.groups()
        if symbol in "{[":
            depth += 1
        elif symbol in "}]":
            depth -= 1
        elif colon and (depth == 1 or (depth == 2 and section == "Resources")):
            name = json.loads(symbol)
            section = name if depth == 1 else section
            line, counted = line + text.count("\n", counted, match.start()), match.start()
            lines[name] = line
    return lines


def _lines(node: yaml.Node | None) -> dict[str, int]:
    lines = {}
    for name, section in _pairs(node):
        lines[name.value] = name.start_mark.line + 1
        if name.value == "Resources":
            lines |= {id.value: id.start_mark.line + 1 for id, _ in _pairs(section)}
    return lines


def _pairs(node: yaml.Node | None) -> list[tuple[yaml.Node, yaml.Node]]:
    return node.value if isinstance(node, yaml.MappingNode) else []


class _Loader(SafeLoader):
    """Safe YAML in which ``!Sub x`` is ``{"Fn::Sub": "x"}``, and dates are text."""


def _tagged(loader: Any, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_UNWANTED = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value")  # the version 2010-09-09 is text, and so is =
_Loader.add_multi_constructor("!", _tagged)
_Loader.yaml_implicit_resolvers = {
    first: [resolver for resolver in resolvers if resolver[0] not in _UNWANTED]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}
