"""The directories with the code of a template's functions and layers."""

from __future__ import annotations

import contextlib
import os.path
import re
import shutil
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from serverfull_wsgi.fetchers.sam.intrinsics import Resolver
from serverfull_wsgi.fetchers.sam.parameters import LAYERS, Unresolvable
from serverfull_wsgi.fetchers.sam.properties import UNRESOLVED, Properties
from serverfull_wsgi.fetchers.sam.template import SERVERLESS_FUNCTION, Template
from serverfull_wsgi.storage.archives import BadPackage
from serverfull_wsgi.storage.package_cache import PackageCache
from serverfull_wsgi.storage.packages import Packages

SERVERLESS_LAYER, LAMBDA_LAYER = "AWS::Serverless::LayerVersion", "AWS::Lambda::LayerVersion"
_INLINE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "inline")
_CURE = "name an existing folder, file or zip archive"


class CodeLocator:
    """A finder of code directories. It unpacks zip archives and writes inline code to files.

    A method that finds nothing returns None, and adds the reason to the properties that name the code.
    """

    def __init__(
        self, template: Template, resolver: Resolver, layers: Mapping[str, str], cache: PackageCache | None = None
    ) -> None:
        self._template = template
        self._resolver = resolver
        self._given_layers = layers
        self._used_layers: set[str] = set()
        self._packages = Packages(cache)
        self.packages: list[str] = []  # absolute paths of all folders and archives that the template names

    def of_function(self, id: str, properties: Properties, runtime: str) -> str | None:
        """Return the code directory of a function.

        Without a CodeUri an AWS::Serverless::Function has the template's directory, as for `sam`.
        """
        resource = self._template.resources[id]
        if resource["Type"] == SERVERLESS_FUNCTION:
            if properties.text("InlineCode"):
                return self._inline(properties, "InlineCode", runtime)
            return self._directory(properties, "CodeUri", _asset(resource, "CodeUri"), default=".")
        if asset := _asset(resource, "Code"):
            return self._directory(properties, "Code", asset)
        code = properties.value("Code")
        if isinstance(code, dict) and "ZipFile" in code:
            return self._inline(properties, "Code.ZipFile", runtime)
        return self._directory(properties, "Code")

    def of_layers(self, properties: Properties) -> tuple[str, ...]:
        """Return the directories of a function's layers, in their order."""
        names = properties.value("Layers") or []
        directories = [self._layer(properties, name) for name in (names if isinstance(names, list) else [names])]
        return tuple(directory for directory in directories if directory)

    def _layer(self, properties: Properties, arn: Any) -> str | None:
        if arn is UNRESOLVED:
            return None
        if str(arn) not in self._local_layers:
            return self._given_layer(properties, str(arn))
        id = self._local_layers[str(arn)]
        layer = self._template.resources[id]
        content = Properties(self._template.location(id), layer.get("Properties"), self._resolver)
        name = "ContentUri" if layer["Type"] == SERVERLESS_LAYER else "Content"
        directory = self._directory(content, name, _asset(layer, name))
        properties.problems += content.problems
        return directory

    def _given_layer(self, properties: Properties, arn: str) -> str | None:
        """Return the directory that SERVERFULL_LAYERS gives to a layer, with or without the layer's version."""
        given = next((key for key in (arn, arn.rpartition(":")[0]) if key in self._given_layers), None)
        if given is None:
            cure = f"unpack it into a folder, and set {LAYERS}='{arn}=FOLDER'"
            properties.add_problem("Layers", f"{arn!r} is a layer at AWS; {cure}")
            return None
        self._used_layers.add(given)
        path = self._given_layers[given]
        self.packages.append(path)
        try:
            if not os.path.exists(path):
                raise BadPackage(f"it does not exist; {_CURE}")
            return self._packages.directory(path)
        except BadPackage as reason:
            properties.add_problem("Layers", f"{path!r}, which {LAYERS} names, cannot be used: {reason}")
            return None

    def unused_layers(self) -> list[str]:
        """Return a line for each layer of SERVERFULL_LAYERS that no function has."""
        return [
            f"{LAYERS}: no function has the layer {arn!r}; correct the ARN, or remove the entry"
            for arn in self._given_layers
            if arn not in self._used_layers
        ]

    @cached_property
    def _local_layers(self) -> dict[str, str]:
        """Return the logical ids of the template's layers by ARN, without those of an unresolvable ARN."""
        local = {}
        for id in self._template.of_type(SERVERLESS_LAYER, LAMBDA_LAYER):
            with contextlib.suppress(Unresolvable):
                local[self._resolver.arn_of(id)] = id
        return local

    def _directory(self, properties: Properties, path: str, asset: str = "", default: str = "") -> str | None:
        """Return the directory of the package that a property names, or of the ``asset`` that stands for it."""
        before = len(properties.problems)
        try:
            package = self._existing(asset, "run 'cdk synth'") if asset else self._path(properties, path, default)
            if len(properties.problems) > before:
                return None
        except BadPackage as reason:
            properties.add_problem(path, reason)
            return None
        try:
            return self._packages.directory(package)
        except BadPackage as reason:
            properties.add_problem(path, f"{asset or properties.text(path)!r} cannot be used: {reason}")
            return None

    def _path(self, properties: Properties, path: str, default: str) -> str:
        """Return the absolute path of a package; a relative one starts at the template's directory."""
        value = properties.value(path)
        if isinstance(value, dict):
            raise BadPackage(f"{'an image' if 'ImageUri' in value else 'code in S3'} is not supported; {_CURE}")
        text = properties.text(path) or default
        if text.startswith(("s3:", "http:", "https:")):
            raise BadPackage(f"{text!r} is not on this machine; {_CURE}")
        if not text:
            raise BadPackage(f"is missing; {_CURE}")
        return self._existing(text, "run 'sam build'")

    def _existing(self, path: str, command: str) -> str:
        """Return the absolute path of a package. Raise `BadPackage` if it does not exist; ``command`` may make it."""
        full = os.path.normpath(os.path.join(self._template.directory, path))
        self.packages.append(full)
        if not os.path.exists(full):
            raise BadPackage(f"{path!r} does not exist; {_CURE}, or {command}")
        return full

    def _inline(self, properties: Properties, path: str, runtime: str) -> str | None:
        suffix = {"python": "py", "nodejs": "js"}.get(re.split(r"\d", runtime)[0])
        try:
            if not suffix:
                raise BadPackage(f"code in a template must be Python or Node.js; {_CURE}")
            directory = self._packages.write_inline(properties.text(path), suffix)
            _add_response_module(directory, suffix)
            return directory
        except BadPackage as reason:
            properties.add_problem(path, reason)
            return None


def _asset(resource: Mapping[str, Any], name: str) -> str:
    """Return the local path of a property's package that CDK will upload; empty if CDK did not write the resource.

    CDK writes the path, relative to its template, into the resource's metadata:
    https://docs.aws.amazon.com/cdk/v2/guide/assets.html
    """
    metadata = resource.get("Metadata")
    if not isinstance(metadata, dict) or metadata.get("aws:asset:property") != name:
        return ""
    path = metadata.get("aws:asset:path")
    return path if isinstance(path, str) else ""


def _add_response_module(directory: str, suffix: str) -> None:
    """Copy the module for custom resources beside inline code, which has it on AWS. Raises `BadPackage`."""
    name, target = (
        ("cfnresponse.py",) * 2 if suffix == "py" else ("cfn-response.js", "node_modules/cfn-response/index.js")
    )
    path = os.path.join(directory, target)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        shutil.copyfile(os.path.join(_INLINE, name), path)
    except OSError as error:
        raise BadPackage(f"a module cannot be written beside the code: {error.strerror}") from None
