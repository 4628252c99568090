"""Where the code of a template's functions and layers lies on this machine."""

from __future__ import annotations

import contextlib
import os.path
import re
from typing import Any

from serverfull_wsgi.fetchers.sam.intrinsics import Resolver
from serverfull_wsgi.fetchers.sam.parameters import Unresolvable
from serverfull_wsgi.fetchers.sam.properties import UNRESOLVED, Properties
from serverfull_wsgi.fetchers.sam.template import Template
from serverfull_wsgi.storage.archives import BadPackage, Packages

SERVERLESS_LAYER, LAMBDA_LAYER = "AWS::Serverless::LayerVersion", "AWS::Lambda::LayerVersion"
_CURE = "name a folder or zip archive that is there"


class Sources:
    """Finds code and layers; what is not there or cannot be used is told in the properties that name it."""

    def __init__(self, template: Template, resolver: Resolver) -> None:
        self._template = template
        self._resolver = resolver
        self._packages = Packages()

    def serverless(self, its: Properties, runtime: str) -> str | None:
        """The code directory of an AWS::Serverless::Function; the template's folder without a CodeUri, as for `sam`."""
        if its.text("InlineCode"):
            return self._inline(its, "InlineCode", runtime)
        return self._folder(its, "CodeUri", default=".")

    def plain(self, its: Properties, runtime: str) -> str | None:
        """The code directory of an AWS::Lambda::Function."""
        code = its.value("Code")
        if isinstance(code, dict) and "ZipFile" in code:
            return self._inline(its, "Code.ZipFile", runtime)
        return self._folder(its, "Code")

    def layers(self, its: Properties) -> tuple[str, ...]:
        """The directories of a function's layers, in their order."""
        names = its.value("Layers") or []
        folders = [self._layer(its, name) for name in (names if isinstance(names, list) else [names])]
        return tuple(folder for folder in folders if folder)

    def _layer(self, its: Properties, name: Any) -> str | None:
        if name is UNRESOLVED:
            return None
        local = self._local_layers()
        if str(name) not in local:
            cure = f"unpack it into a folder, and name that as the ContentUri of an {SERVERLESS_LAYER}"
            its.refuse("Layers", f"{name!r} lies at AWS; {cure}")
            return None
        id = local[name]
        layer = self._template.resources[id]
        content = Properties(self._template.where(id), layer.get("Properties"), self._resolver)
        folder = self._folder(content, "ContentUri" if layer["Type"] == SERVERLESS_LAYER else "Content")
        its.problems += content.problems
        return folder

    def _local_layers(self) -> dict[str, str]:
        """The layers of the template by their ARN, those left out whose ARN cannot be known here."""
        local = {}
        for id in self._template.of_type(SERVERLESS_LAYER, LAMBDA_LAYER):
            with contextlib.suppress(Unresolvable):
                local[self._resolver.arn_of(id)] = id
        return local

    def _folder(self, its: Properties, path: str, default: str = "") -> str | None:
        """The folder of a package, unpacked if it is an archive."""
        before = len(its.problems)
        try:
            found = self._path(its, path, default)
            if len(its.problems) > before:
                return None
        except BadPackage as reason:
            its.refuse(path, reason)
            return None
        try:
            return self._packages.directory(found)
        except BadPackage as reason:
            its.refuse(path, f"{its.text(path)!r} cannot be used: {reason}")
            return None

    def _path(self, its: Properties, path: str, default: str) -> str:
        """Where a package lies; what is relative begins at the template."""
        value = its.value(path)
        if isinstance(value, dict):
            raise BadPackage(f"{'an image' if 'ImageUri' in value else 'code in S3'} is not run here; {_CURE}")
        text = its.text(path) or default
        if text.startswith(("s3:", "http:", "https:")):
            raise BadPackage(f"{text!r} does not lie on this machine; {_CURE}")
        if not text:
            raise BadPackage(f"this is missing; {_CURE}")
        full = os.path.normpath(os.path.join(self._template.folder, text))
        if not os.path.exists(full):
            raise BadPackage(f"there is no folder or zip archive {text!r}; {_CURE}, or run 'sam build'")
        return full

    def _inline(self, its: Properties, path: str, runtime: str) -> str | None:
        suffix = {"python": "py", "nodejs": "js"}.get(re.split(r"\d", runtime)[0])
        try:
            if not suffix:
                raise BadPackage(f"only Python and Node.js can be written into a template; {_CURE}")
            return self._packages.write_inline(its.text(path), suffix)
        except BadPackage as reason:
            its.refuse(path, reason)
            return None
