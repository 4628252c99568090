"""Packages are copied from S3, and refused with S3's reasons."""

import pytest

from serverfull_wsgi.errors import InvalidParameterValueException, ServiceException
from serverfull_wsgi.registry.s3_source import S3Source
from tests.support.registry import code, registry_in, request

boto3 = pytest.importorskip("boto3")
moto = pytest.importorskip("moto")


@pytest.fixture
def registry(tmp_path):
    return registry_in(tmp_path, source=S3Source("us-east-1"))


@pytest.fixture(scope="module")
def s3():
    """A bucket with a package in two versions, and with a file that is not an archive."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        with moto.mock_aws():
            client = boto3.client("s3", region_name="us-east-1")
            client.create_bucket(Bucket="bucket")
            client.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
            client.put_object(Bucket="bucket", Key="text", Body=b"text")
            yield client


def put(s3, text):
    return s3.put_object(Bucket="bucket", Key="code.zip", Body=code(text).read())["VersionId"]


def test_a_package_is_copied_so_that_later_changes_have_no_effect(registry, s3):
    put(s3, "one")
    registry.create_function("hello", request(), registry.packages.fetch("bucket", "code.zip"), "tester")
    s3.delete_object(Bucket="bucket", Key="code.zip")
    with registry.packages.open(registry.package("hello")) as file:
        assert file.read() == code("one").read()


def test_a_version_of_an_object_is_copied(registry, s3):
    version = put(s3, "one")
    put(s3, "two")
    assert registry.packages.fetch("bucket", "code.zip", version) == registry.packages.check(code("one"))
    assert registry.packages.fetch("bucket", "code.zip") == registry.packages.check(code("two"))


def test_a_dry_run_stores_nothing(registry, s3, tmp_path):
    put(s3, "one")
    registry.packages.fetch("bucket", "code.zip", dry_run=True)
    assert not (tmp_path / "registry").exists()


@pytest.mark.parametrize(
    ("bucket", "key", "text"),
    [
        ("absent", "code.zip", "NoSuchBucket. S3 Error Message: The specified bucket does not exist"),
        ("bucket", "absent", "NoSuchKey. S3 Error Message: The specified key does not exist."),
        ("bucket", "text", "Could not unzip uploaded file. Please check your file, then try to upload again."),
    ],
)
def test_an_object_that_cannot_be_used_is_refused(registry, s3, bucket, key, text):
    with pytest.raises(InvalidParameterValueException) as refused:
        registry.packages.fetch(bucket, key)
    assert refused.value.message.removeprefix("Error occurred while GetObject. S3 Error Code: ") == text


def test_a_service_that_cannot_be_reached_is_a_failure_of_the_server(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with pytest.raises(ServiceException), S3Source("us-east-1", "http://127.0.0.1:1").download("bucket", "key"):
        pass


def test_a_server_without_boto3_names_the_cure(tmp_path):
    with pytest.raises(
        InvalidParameterValueException, match=r"pip install 'serverfull-wsgi\[aws\]'; or send a ZipFile"
    ):
        registry_in(tmp_path).packages.fetch("bucket", "key")
