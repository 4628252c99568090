"""A function that does harm while its module is imported: the act in the variable INIT."""

import json
import os

import hostile

hostile.handler(json.loads(os.environ["INIT"]), None)
handler = hostile.handler
