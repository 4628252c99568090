"""The project's prose is plain: few headless clauses, and no persons for programs.

The words below stand for both ("what is left", "nobody is told"). Well-written libraries have 0.0 to 2.2 of them in a
thousand words. The number is a proxy, so read the text too.

``python -m tests.test_prose [PATH…]`` lists every place.
"""

import ast
import io
import re
import sys
import tokenize

import pytest

from tests.support.servers import ROOT

pytestmark = pytest.mark.once
MOST = 4.0  # in a thousand words
WORDS = re.compile(r"\b(what|whatever|who|whoever|whose|nobody|told|tells)\b", re.IGNORECASE)
AWS_TEXTS = (  # AWS's own words, which the project repeats byte for byte
    "The provided 'x-amz-content-sha256' header does not match what was computed.",
)
CODE = ["serverfull_wsgi", "tests", "bench", "tools", "examples", "setup.py"]
DOCS = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "docs", "bench/README.md"]
SKIPPED = {"tests/test_prose.py"}


def texts(file):
    """Each text of a file with its line: the docstrings, comments and messages of Python, or all of a document."""
    source = file.read_text()
    if file.suffix == ".md":
        prose = re.sub(r"```.*?```", lambda block: "\n" * block[0].count("\n"), source, flags=re.DOTALL)
        yield from ((number, line) for number, line in enumerate(prose.splitlines(), 1))
        return
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip():
            yield node.lineno, node.value
        elif isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node.lineno, node.name.replace("_", " ")


def files(paths):
    for path in (ROOT / name for name in paths):
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in found:
            name = str(file.relative_to(ROOT))
            if file.suffix in (".py", ".md") and file.is_file() and name not in SKIPPED and "broken" not in name:
                yield file


def counted(paths):
    """The number of words in all, and the places of those that are counted."""
    total, places = 0, []
    for file in files(paths):
        for line, text in texts(file):
            for quoted in AWS_TEXTS:
                text = text.replace(quoted, "")
            total += len(re.findall(r"[A-Za-z]{2,}", text))
            places += [f"{file.relative_to(ROOT)}:{line}: {match[0]}" for match in WORDS.finditer(text)]
    return total, places


@pytest.mark.parametrize("paths", [["serverfull_wsgi"], CODE[1:], DOCS], ids=["package", "tests", "documents"])
def test_the_prose_is_plain(paths):
    total, places = counted(paths)
    assert 1000 * len(places) / total <= MOST, "\n".join(places[:40])


if __name__ == "__main__":
    total, places = counted(sys.argv[1:] or CODE + DOCS)
    print("\n".join(places))
    print(f"{len(places)} in {total} words: {1000 * len(places) / total:.1f} in a thousand")
