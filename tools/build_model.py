"""Generator of `serverfull_wsgi/api/model/lambda.json`: AWS Lambda's service model, without its prose, from botocore.

``python tools/build_model.py`` writes the file from the botocore that is installed. ``--check`` fails if the file is
not the one that this botocore gives. ``--difference`` prints the operations and shapes that differ, and never fails: a
newer botocore is a task for a developer, and no fault of the package. ``--botocore FOLDER`` reads the botocore that is
installed in FOLDER instead.

botocore's files are read without importing botocore.
"""

import argparse
import gzip
import importlib.util
import json
import re
import sys
from pathlib import Path

MODEL = Path(__file__).parent.parent / "serverfull_wsgi/api/model/lambda.json"
SERVICE = "lambda/2015-03-31"
PROSE = {"documentation", "deprecatedMessage", "deprecatedSince"}  # keys whose values are texts for people


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--check", action="store_true", help="fail if botocore gives another lambda.json")
    action.add_argument("--difference", action="store_true", help="print the changes that another botocore would make")
    parser.add_argument("--botocore", metavar="FOLDER", type=Path, help="the folder in which botocore is installed")
    options = parser.parse_args(arguments)
    if options.difference:
        return print_difference(options.botocore)
    package = installed(options.botocore)
    if package is None:
        return "botocore is not installed; run: pip install botocore"
    if options.check:
        return check(package)
    MODEL.write_text(text(model(package)))
    print(f"wrote {MODEL} from botocore {version(package)}")
    return 0


def check(package):
    """Return 0 if the file is fresh, otherwise the reason why it is not."""
    written = MODEL.read_text()
    recorded = json.loads(written)["source"]["version"]
    if version(package) != recorded:
        return f"{MODEL.name} is from botocore {recorded}; to check it, run: pip install botocore=={recorded}"
    if written != text(model(package)):
        return f"{MODEL.name} differs from the model of botocore {recorded}; run: python tools/build_model.py"
    print(f"{MODEL.name} is fresh: {len(json.loads(written)['operations'])} operations of botocore {recorded}")
    return 0


def print_difference(folder):
    """Print the changes that the botocore in ``folder`` would make. Return 0."""
    package = installed(folder)
    if package is None:
        print("no other botocore to compare with")
        return 0
    written = json.loads(MODEL.read_text())
    lines = differences(written, model(package))
    print(f"botocore {version(package)} against {MODEL.name}, which is from {written['source']['version']}:")
    print("\n".join(lines) if lines else "no operation, shape or paginator differs")
    return 0


def differences(before, after):
    """Return a line for each operation, paginator and shape that was added, removed or changed.

    >>> before = {"operations": {"A": 1, "B": 1}, "pagination": {}, "shapes": {"S": {"max": 1}}}
    >>> differences(before, {"operations": {"B": 2, "C": 1}, "pagination": {}, "shapes": {"S": {"max": 1}}})
    ['operations: added C', 'operations: removed A', 'operations: changed B']
    """
    lines = []
    for part in ("operations", "pagination", "shapes"):
        old, new = before[part], after[part]
        lines += [f"{part}: added {name}" for name in new if name not in old]
        lines += [f"{part}: removed {name}" for name in old if name not in new]
        lines += [f"{part}: changed {name}" for name in old if name in new and old[name] != new[name]]
    return lines


def model(package):
    """Return the service model of a botocore package: operations, shapes and paginators, without prose."""
    data = package / "data" / SERVICE
    service = without_prose(json.loads(gzip.decompress((data / "service-2.json.gz").read_bytes())))
    return {
        "source": {"package": "botocore", "version": version(package), "service": SERVICE},
        "version": service["version"],
        "metadata": service["metadata"],
        "operations": service["operations"],
        "pagination": json.loads((data / "paginators-1.json").read_text())["pagination"],
        "shapes": service["shapes"],
    }


def without_prose(value):
    """Return a JSON value without the keys that hold prose. A member may have such a name; its value is an object.

    >>> without_prose({"documentation": "<p>A name.</p>", "members": {"documentation": {"shape": "String"}}})
    {'members': {'documentation': {'shape': 'String'}}}
    """
    if isinstance(value, dict):
        return {
            key: without_prose(inner)
            for key, inner in value.items()
            if not (key in PROSE and isinstance(inner, str))
        }  # fmt: skip
    return [without_prose(inner) for inner in value] if isinstance(value, list) else value


def text(model):
    """Return the model as JSON with one line for each operation, paginator and shape, so that a change reads well.

    The order of botocore is kept: error messages name the members in this order.
    """
    parts = []
    for part, value in model.items():
        if part in ("operations", "pagination", "shapes"):
            lines = (f"{json.dumps(name)}:{compact(inner)}" for name, inner in value.items())
            parts.append(f"{json.dumps(part)}:{{\n" + ",\n".join(lines) + "\n}")
        else:
            parts.append(f"{json.dumps(part)}:{compact(value)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def compact(value):
    return json.dumps(value, separators=(",", ":"))


def installed(folder):
    """Return the folder of the package botocore, or None if it is not installed."""
    if folder is None:
        spec = importlib.util.find_spec("botocore")
        return Path(spec.origin).parent if spec and spec.origin else None
    package = folder / "botocore"
    return package if package.is_dir() else None


def version(package):
    return re.search(r"^__version__ = ['\"](.+)['\"]$", (package / "__init__.py").read_text(), re.MULTILINE)[1]


if __name__ == "__main__":
    sys.exit(main())
