"""Files of environment variables for isolated functions."""

import json
import sys

import pytest

from serverfull_wsgi import ConfigurationError
from serverfull_wsgi.settings.variable_files import overrides_of, read_dotenv, read_sam_variables
from tests.support.isolated import needs_client
from tests.support.servers import ROOT, serverfull

HIDDEN = "s3cret"


@pytest.fixture
def file(tmp_path):
    """Return a function that writes a file and returns its path."""

    def write(content):
        path = tmp_path / "variables"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=1", "1"),
        ("A = spaced ", "spaced"),
        ("export A=1", "1"),
        ("A=", ""),
        ("A='single $B \\n'", "single $B \\n"),
        ('A="double\\tquoted"', "double\tquoted"),
        ("A=$B/${C}", "$B/${C}"),
        ("A='two\nlines'", "two\nlines"),
        ("A=1 # a comment", "1"),
        ("A=it's", "it's"),
        ("A=grüezi", "grüezi"),
        ("A=first\nA=last", "last"),
        ("\ufeffA=1", "1"),
        ("# a comment\r\n\r\nA=1\r\n", "1"),
    ],
)
def test_a_dotenv_file_is_read_without_expansion(line, value, file):
    assert read_dotenv(file(line), "FILE") == {"A": value}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"A=1\nB {HIDDEN}\n", "line 2: a line has the form NAME=value"),
        (f"A=1\n\n\n{HIDDEN}\n", "line 4: a line has the form NAME=value"),
        (f"A=1\n\n  B='{HIDDEN}\n", "line 3: a line has the form NAME=value, with quotes that are closed"),
        (f"={HIDDEN}\n", "line 1: a line has the form NAME=value"),
        (f"A=1\nAWS_REGION={HIDDEN}\n", "line 2: a line must not set AWS_REGION, which Lambda keeps for itself"),
        (f"AWS_LAMBDA_RUNTIME_API={HIDDEN}", "line 1: a line must not set AWS_LAMBDA_RUNTIME_API"),
        (f"A=1\n2B={HIDDEN}", "line 2: a line has a name of letters, digits and '_'"),
        (f"A='{HIDDEN}\nmore'\nB-C={HIDDEN}", "line 3: a line has a name of letters, digits and '_'"),
        (f"A={HIDDEN}\0", "line 1: a line has a value that is text without NUL"),
        (f"A=1\nB={HIDDEN}".encode() + b"\xff", "line 2: the text is not UTF-8"),
    ],
)
def test_a_line_that_is_not_valid_is_refused_with_its_number_and_without_its_value(text, message, file):
    with pytest.raises(ConfigurationError) as refusal:
        read_dotenv(file(text), "FILE")
    assert str(refusal.value).startswith(f"FILE: {message}")
    assert HIDDEN not in str(refusal.value)


@pytest.mark.parametrize("read", [read_dotenv, read_sam_variables])
def test_a_file_that_does_not_exist_is_refused(read, tmp_path):
    with pytest.raises(ConfigurationError, match="FILE: the file cannot be read: No such file or directory"):
        read(str(tmp_path / "none"), "FILE")


def test_values_of_a_sam_file_become_text_as_with_sam(file):
    values = {"TEXT": "a", "NUMBER": 1, "FLOAT": 1.5, "TRUE": True, "FALSE": False, "NULL": None}
    assert read_sam_variables(file(json.dumps({"Orders": values})), "FILE") == {
        "Orders": {"TEXT": "a", "NUMBER": "1", "FLOAT": "1.5", "TRUE": "true", "FALSE": "false", "NULL": ""}
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f'{{\n"Orders": {{"A": "{HIDDEN}",}}\n}}', "FILE: line 2: the file is not valid JSON"),
        (f'["{HIDDEN}"]', 'FILE: the file must have the form {"Function": {"NAME": "value"}}'),
        (f'{{"A": "{HIDDEN}"}}', 'FILE: the file must have the form {"Function": {"NAME": "value"}}'),
        (f'{{"Orders": {{"A": ["{HIDDEN}"]}}}}', "FILE: Orders: the value of 'A' must be a text or a number"),
        (
            f'{{"Orders": {{"AWS_REGION": "{HIDDEN}"}}}}',
            "FILE: Orders: 'AWS_REGION': a variable must not set AWS_REGION",
        ),
        (f'{{"Parameters": {{"1": "{HIDDEN}"}}}}', "FILE: Parameters: '1': a variable has a name of letters"),
    ],
)
def test_a_sam_file_of_another_form_is_refused_without_its_values(text, message, file):
    with pytest.raises(ConfigurationError) as refusal:
        read_sam_variables(file(text), "FILE")
    assert str(refusal.value).startswith(message)
    assert HIDDEN not in str(refusal.value)


def test_a_function_without_a_section_has_the_variables_of_all():
    assert overrides_of({"Parameters": {"A": "1"}, "Other": {"B": "2"}}, "orders") == {"A": "1"}


# Through the command

TEMPLATE = f"""
Transform: AWS::Serverless-2016-10-31
Resources:
  Orders:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: orders-prod
      Runtime: python3.{sys.version_info.minor}
      Handler: index.handler
      Environment: {{Variables: {{OWN: own, BOTH: own}}}}
      InlineCode: |
        import os
        def handler(event, context):
            return {{name: os.environ.get(name) for name in ("FILE", "OWN", "BOTH", "GIVEN")}}
"""


@pytest.fixture
def project(tmp_path):
    """Return a function that runs a command in a project with a template and a dotenv file."""
    (tmp_path / "template.yaml").write_text(TEMPLATE)
    (tmp_path / ".env").write_text("FILE=$file\nBOTH=file\nGIVEN=file\n")
    (tmp_path / ".env").chmod(0o600)

    def run(*argv, sections=None, **environ):
        if sections is not None:
            (tmp_path / "variables.json").write_text(json.dumps(sections))
            argv = (*argv, "--env-vars", "variables.json")
        environ = {"SERVERFULL_ENVIRONMENT_FILE": ".env", "PYTHONPATH": str(ROOT), **environ}
        return serverfull(*argv, cwd=tmp_path, **environ)

    run.folder = tmp_path
    return run


def variables(result):
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@needs_client
@pytest.mark.parametrize("name", ["Orders", "orders-prod", "Parameters"])
def test_the_option_wins_over_the_function_and_the_function_over_the_file(name, project):
    pytest.importorskip("yaml")
    own = {"FILE": "$file", "OWN": "own", "BOTH": "own", "GIVEN": "file"}
    assert variables(project("invoke", "orders-prod")) == own
    given = {"OWN": "given", "GIVEN": 5}
    assert variables(project("invoke", "orders-prod", sections={name: given})) == {**own, "OWN": "given", "GIVEN": "5"}


@needs_client
def test_a_file_gives_functions_the_credentials_that_lambda_would_set(project):
    code = "import os\ndef handler(event, context):\n    return os.environ['AWS_ACCESS_KEY_ID']\n"
    (project.folder / "app.py").write_text(code)
    (project.folder / ".env").write_text("AWS_ACCESS_KEY_ID=of the file\n")
    environ = {"SERVERFULL_FUNCTIONS": "it=app.handler", "SERVERFULL_EXECUTOR": "process"}
    assert variables(project("invoke", "it", **environ)) == "of the file"
    assert variables(project("invoke", "it", sections={"it": {"AWS_ACCESS_KEY_ID": "given"}}, **environ)) == "given"


@needs_client
def test_functions_without_a_template_have_the_variables_of_the_file(project):
    (project.folder / "app.py").write_text(
        "import os\ndef handler(event, context):\n    return os.environ.get('FILE')\n"
    )
    environ = {"SERVERFULL_FUNCTIONS": "it=app.handler", "SERVERFULL_EXECUTOR": "process"}
    assert variables(project("invoke", "it", **environ)) == "$file"
    assert variables(project("invoke", "it", sections={"it": {"FILE": "given"}}, **environ)) == "given"


def test_a_file_that_others_can_read_is_warned_about(project):
    pytest.importorskip("yaml")
    for folder in (project.folder, project.folder.parent):
        folder.chmod(0o755)
    message = "SERVERFULL_ENVIRONMENT_FILE=.env: other users of this machine can read the file; run chmod o-r "
    assert message not in project("check").stderr
    (project.folder / ".env").chmod(0o644)
    assert message in project("check").stderr


@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_bad_file_refuses_the_start(command, project):
    pytest.importorskip("yaml")
    (project.folder / ".env").write_text(f"A=1\nnot a line {HIDDEN}\n")
    result = project(command)
    assert result.returncode != 0
    assert "SERVERFULL_ENVIRONMENT_FILE=.env: line 2: " in result.stderr + result.stdout
    assert HIDDEN not in result.stderr + result.stdout


def test_names_without_effect_are_warned_about(project):
    environ = {"SERVERFULL_FUNCTIONS": "it=json.dumps"}
    result = project("invoke", "it", sections={"it": {"A": "1"}, "Odrers": {"A": "1"}}, **environ)
    assert "--env-vars variables.json: there is no function Odrers; its variables have no effect" in result.stderr
    assert "--env-vars variables.json: function it runs in the server's process, without variables" in result.stderr


def test_the_option_is_refused_for_an_application_built_in_code(project):
    result = project("invoke", "--app", "tests.support.site:application", "hello", sections={})
    assert result.stderr == "Error: --env-vars is for the functions of the settings; remove it or --app\n"
