"""Sphinx's configuration: MyST for the pages, autodoc for the reference, Furo for the look."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCE = (ROOT / "serverfull_wsgi/__init__.py").read_text()

project = "serverfull-wsgi"
author = "the serverfull_wsgi developers"
copyright = author
release = version = re.search(r'^__version__ = "(.+)"$', SOURCE, re.MULTILINE)[1]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"serverfull-wsgi {release}"
html_copy_source = False

default_role = "py:obj"  # `Name` in a docstring links to the object of that name, if it is documented here

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
maximum_signature_line_length = 80  # longer signatures get one line for each parameter
