"""CPU time to read SAM templates of growing size: python -m bench.templates.

Each function has an event source of its own. Work that is in proportion to the number of functions takes twice the time
for twice the functions.
"""

import argparse
import contextlib
import io
import tempfile
from pathlib import Path
from time import process_time

from serverfull_wsgi import SamFetcher

FUNCTION = """
  Function{number}:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: code
      Handler: app.handler
      Runtime: python3.12
      Timeout: {timeout}
      Environment: {{Variables: {{TABLE: !Ref Table, NUMBER: "{number}"}}}}
      Events:
        Jobs: {{Type: SQS, Properties: {{Queue: !GetAtt Queue.Arn, BatchSize: 10}}}}
"""
RESOURCES = """
Transform: AWS::Serverless-2016-10-31
Resources:
  Table: {Type: AWS::Serverless::SimpleTable}
  Queue: {Type: AWS::SQS::Queue}
"""


def main():
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder), 10)
        _cpu_seconds(Path(folder))  # imports modules
        figures = {size: min(_measured(Path(folder), size, options.rounds)) for size in options.sizes}
    sizes = list(figures)
    for before, size in zip([None, *sizes], sizes, strict=False):
        ratio = f"  {figures[size] / figures[before]:.2f} x the time of {before:,}" if before else ""
        print(f"{size:6,} functions: {figures[size]:6.2f} s of CPU{ratio}")


def _options():
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--rounds", type=int, default=3, help="readings, of which the shortest counts (default: 3)")
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="+",
        default=[1000, 2000, 4000, 8000],
        help="numbers of functions (default: 1000 2000 4000 8000)",
    )
    return parser.parse_args()


def _write(folder, size):
    (folder / "code").mkdir(exist_ok=True)
    (folder / "code/app.py").write_text("def handler(event, context):\n    return event\n")
    functions = (FUNCTION.format(number=number, timeout=number % 29 + 1) for number in range(size))
    (folder / "template.yaml").write_text(RESOURCES + "".join(functions))


def _measured(folder, size, rounds):
    _write(folder, size)
    for _ in range(rounds):
        yield _cpu_seconds(folder, size)


def _cpu_seconds(folder, size=10):
    """Return the CPU time to read the template and to list its functions."""
    started = process_time()
    with contextlib.redirect_stderr(io.StringIO()):
        functions = SamFetcher(folder / "template.yaml").functions()
    seconds = process_time() - started
    if len(functions) != size:
        raise RuntimeError(f"the template has {len(functions)} functions, not {size}")
    return seconds


if __name__ == "__main__":
    main()
