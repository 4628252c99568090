"""A function that does harm before it ever runs: what INIT says."""

import json
import os

import hostile

hostile.handler(json.loads(os.environ["INIT"]), None)
handler = hostile.handler
