"""A WSGI application under bjoern: python -m bench.bjoern_server MODULE:APPLICATION PORT."""

import sys
from importlib import import_module

import bjoern

module, _, name = sys.argv[1].partition(":")
bjoern.run(getattr(import_module(module), name), "127.0.0.1", int(sys.argv[2]))
