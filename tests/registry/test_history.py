"""A registry keeps the last revisions of a function: for the audit, for a rollback, and for the packages they need."""

import json
import os
import threading

import pytest

from serverfull_wsgi.errors import (
    ConfigurationError,
    ResourceConflictException,
    ResourceNotFoundException,
    ServiceException,
)
from serverfull_wsgi.registry import function_store, objects, tags
from serverfull_wsgi.registry.documents import KEPT
from serverfull_wsgi.registry.objects import DirectoryStore
from tests.support.registry import code, deploy, numbered_ids, redeploy, registry_in

pytestmark = pytest.mark.quick
HOUR = 3600.0


@pytest.fixture
def registry(tmp_path):
    return registry_in(tmp_path, clock=lambda: 1764037614.0, new_id=numbered_ids())


def text_of(registry, qualifier=None):
    with open(f"{registry.packages.directory(registry.package('hello', qualifier))}/app.py") as file:
        return file.read()


def test_each_write_has_an_audit_line(registry):
    deploy(registry)
    registry.update_configuration("hello", {"Timeout": 9}, "arn:aws:iam::123456789012:user/deployer")
    registry.tag("hello", {"a": "b"}, "tester")
    lines = [{name: value for name, value in each.items() if name != "before"} for each in registry.history("hello")]
    time = "2025-11-25T02:26:54.000+0000"
    deployer = "arn:aws:iam::123456789012:user/deployer"
    assert lines == [
        {"revision": 1, "time": time, "by": "tester", "what": "CreateFunction", "old": None, "new": "id-1"},
        {
            "revision": 2,
            "time": time,
            "by": deployer,
            "what": "UpdateFunctionConfiguration",
            "old": "id-1",
            "new": "id-3",
        },
        {"revision": 3, "time": time, "by": "tester", "what": "TagResource", "old": "id-3", "new": "id-3"},
    ]


def test_a_request_that_changes_nothing_is_no_revision(registry):
    deploy(registry)
    registry.delete_alias("hello", "unknown", "tester")
    registry.delete_concurrency("hello", "tester")
    assert len(registry.history("hello")) == 1


def test_a_rollback_returns_to_the_revision_before_the_last(registry):
    deploy(registry, text="one")
    redeploy(registry, text="two")
    registry.roll_back("hello", None, "tester")
    assert "one" in text_of(registry)
    registry.roll_back("hello", None, "tester")  # the rollback is a revision too
    assert "two" in text_of(registry)
    assert [each["what"] for each in registry.history("hello")][-2:] == ["rollback", "rollback"]


def test_a_rollback_to_a_revision_restores_all_parts(registry):
    deploy(registry, text="one", Publish=True, Tags={"a": "1"})
    registry.create_alias("hello", {"Name": "prod", "FunctionVersion": "1"}, "tester")
    registry.put_concurrency("hello", 5, "tester")
    revision = registry.history("hello")[-1]["revision"]
    before = registry.get("hello")
    redeploy(registry, text="two", Publish=True)
    registry.update_alias("hello", "prod", {"FunctionVersion": "2"}, "tester")
    registry.delete_function("hello", "1", "tester")
    registry.untag("hello", ["a"], "tester")
    registry.delete_concurrency("hello", "tester")
    registry.roll_back("hello", revision, "tester")
    after = registry.get("hello")
    assert "one" in text_of(registry, "prod")
    assert list(after["versions"]) == ["1", "2"]  # a version that was published since stays
    assert (after["tags"], after["reserved"]) == ({"a": "1"}, 5)
    assert after["versions"]["1"] == before["versions"]["1"]
    assert after["latest"]["RevisionId"] != before["latest"]["RevisionId"]
    assert after["aliases"]["prod"]["RevisionId"] != before["aliases"]["prod"]["RevisionId"]


def test_a_rollback_to_a_revision_that_is_not_kept_is_refused(registry):
    deploy(registry)
    with pytest.raises(ConfigurationError, match="there is no earlier one, and the present one is 1"):
        registry.roll_back("hello", None, "tester")
    for timeout in range(1, KEPT + 5):
        registry.update_configuration("hello", {"Timeout": timeout}, "tester")
    assert len(registry.history("hello")) == KEPT
    for revision in (0, 1, 4, 25, 26, -1):
        with pytest.raises(ConfigurationError, match="the oldest one is 5, and the present one is 25"):
            registry.roll_back("hello", revision, "tester")
    registry.roll_back("hello", 5, "tester")
    assert registry.function_configuration("hello")["Timeout"] == 4
    with pytest.raises(ResourceNotFoundException):
        registry.roll_back("other", None, "tester")


def test_prune_keeps_every_package_that_a_version_or_a_revision_needs(tmp_path):
    registry = registry_in(tmp_path)
    deploy(registry, text="published", Publish=True)
    for number in range(KEPT + 2):
        redeploy(registry, text=f"text {number}")
    stored = {path.name for path in tmp_path.glob("registry/code/*")}
    assert registry.prune().packages == {}  # the packages are new: a document may be about to refer to them
    later = registry_in(tmp_path, clock=lambda: 4e9)
    deleted = later.prune().packages
    assert len(stored) == KEPT + 3
    assert len(deleted) == 1  # "text 0"; those of 20 revisions, of $LATEST and of version 1 stay
    assert {path.name for path in tmp_path.glob("registry/code/*")} == stored - deleted.keys()
    later.roll_back("hello", registry.history("hello")[0]["revision"] - 1, "tester")
    registry_in(tmp_path, cache=tmp_path / "another-machine/packages").packages.directory(later.package("hello"))


def test_prune_of_a_registry_that_does_not_exist_deletes_nothing(tmp_path):
    assert registry_in(tmp_path).prune() == ({}, 0)
    assert not (tmp_path / "registry").exists()


def test_a_package_in_use_again_survives_a_prune(tmp_path):
    """The package was written long ago, so that only its renewed time protects it until the document refers to it."""
    registry = registry_in(tmp_path)
    package = registry.packages.add(code("one"))
    (stored,) = tmp_path.glob("registry/code/*")
    os.utime(stored, (0, 0))
    package = registry.packages.add(code("one"))
    assert registry.prune().packages == {}
    registry.packages.open(package.sha256).close()


def documents(tmp_path):
    return tmp_path / "registry/functions/hello"


def test_a_document_of_a_later_format_is_refused(registry, tmp_path, capsys):
    deploy(registry)
    text = documents(tmp_path).read_text().replace('"format":1', '"format":2', 1)
    documents(tmp_path).write_text(text)
    for call in (registry.get, registry.history, lambda name: registry.update_configuration(name, {}, "tester")):
        with pytest.raises(ServiceException):
            call("hello")
    with pytest.raises(ServiceException):
        registry.prune()
    assert documents(tmp_path).read_text() == text


@pytest.mark.parametrize("content", [b"", b"{", b"[]\n", b'{"name":"hello"}\n', b"\xff\n"])
def test_a_damaged_document_is_an_error_and_stays(registry, tmp_path, content):
    deploy(registry)
    documents(tmp_path).write_bytes(content)
    with pytest.raises(ServiceException):
        registry.get("hello")
    with pytest.raises(ServiceException):
        deploy(registry)
    assert documents(tmp_path).read_bytes() == content


def test_a_damaged_history_is_an_error_and_the_function_is_served(registry, tmp_path):
    deploy(registry)
    function = documents(tmp_path).read_bytes().splitlines()[0]
    documents(tmp_path).write_bytes(function + b"\n[{")
    assert registry.function_configuration("hello")["State"] == "Active"
    for call in (registry.history, lambda name: registry.tag(name, {"a": ""}, "tester"), lambda name: registry.prune()):
        with pytest.raises(ServiceException):
            call("hello")


def test_concurrent_changes_form_one_chain(tmp_path):
    registry = registry_in(tmp_path)
    deploy(registry)
    count, threads = 4, 5

    def change(writer):
        mine = registry_in(tmp_path)  # as another process has it
        for number in range(count):
            mine.tag("hello", {f"{writer}-{number}": ""}, "tester")
            mine.update_configuration("hello", {"Description": f"{writer} {number}"}, "tester")

    writers = [threading.Thread(target=change, args=(number,)) for number in range(threads)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(registry.tags("hello")) == count * threads
    history = registry.history("hello")
    assert registry.get("hello")["revision"] == 1 + 2 * count * threads
    assert [each["old"] for each in history[1:]] == [each["new"] for each in history[:-1]]


def test_a_change_that_loses_its_race_is_applied_to_the_new_document(registry, tmp_path):
    deploy(registry)
    others = iter(["first", "second"])

    def change(document, moment):
        for key in others:  # another process is faster, twice
            registry_in(tmp_path).tag("hello", {key: ""}, "another")
            break
        return tags.tag(document, moment, tags={"mine": ""})

    registry.change("hello", change, "tester", "TagResource")
    assert registry.tags("hello") == {"first": "", "second": "", "mine": ""}


def test_a_change_that_loses_all_its_races_is_refused(registry, tmp_path, monkeypatch):
    monkeypatch.setattr(function_store, "PATIENCE", 0.1)
    deploy(registry)

    def change(document, moment):
        registry_in(tmp_path).tag("hello", {"other": moment.new_id()}, "another")
        return tags.untag(document, moment, keys=["a"])

    with pytest.raises(ResourceConflictException, match=r"An update is in progress for resource: arn:.*:hello\Z"):
        registry.change("hello", change, "tester", "UntagResource")


def test_a_writer_that_hangs_in_its_turn_holds_up_others_only_for_a_while(registry, tmp_path, monkeypatch):
    monkeypatch.setattr(objects, "LOCK_PATIENCE", 0.1)
    deploy(registry)

    def change(document, moment):
        registry_in(tmp_path).tag("hello", {"another": ""}, "another")
        return tags.tag(document, moment, tags={"mine": ""})

    with DirectoryStore(tmp_path / "registry").turn():
        with pytest.raises(ServiceException):
            registry.change("hello", change, "tester", "TagResource")
    assert registry.tags("hello") == {"another": ""}


def test_a_document_is_two_lines_of_json(registry, tmp_path):
    deploy(registry)
    function, history = documents(tmp_path).read_text().splitlines()
    assert json.loads(function)["latest"]["FunctionName"] == "hello"
    assert json.loads(history)[0]["what"] == "CreateFunction"
