"""`EventConfig`: the values that are accepted and refused."""

import pytest

from serverfull_wsgi import ConfigurationError, EventConfig
from serverfull_wsgi.event_config import masked_target

pytestmark = pytest.mark.quick


@pytest.mark.parametrize(
    "values",
    [
        {"maximum_retry_attempts": 3},
        {"maximum_retry_attempts": -1},
        {"maximum_retry_attempts": True},
        {"maximum_event_age": 59},
        {"maximum_event_age": 21_601},
        {"on_success": "ftp://example.com"},
        {"on_failure": ""},
        {"dead_letter": "arn:aws:s3:::bucket"},
    ],
)
def test_values_that_aws_refuses_are_refused(values):
    with pytest.raises(ConfigurationError, match=f"event_config: {next(iter(values))}="):
        EventConfig(**values)


@pytest.mark.parametrize(
    "target",
    [
        "next",
        "next:prod",
        "arn:aws:lambda:us-east-1:123456789012:function:next:1",
        "https://example.com/hook?x=1",
        "arn:aws:sqs:eu-west-1:123456789012:jobs.fifo",
        "arn:aws:sns:eu-west-1:123456789012:topic",
        "arn:aws:events:eu-west-1:123456789012:event-bus/default",
    ],
)
def test_functions_urls_and_arns_of_three_services_are_targets(target):
    assert EventConfig(on_failure=target).on_failure == target


# URLs with passwords and tokens


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("https://example.com", "https://example.com"),
        ("https://example.com:8443/failed", "https://example.com:8443/failed"),
        ("http://[::1]:80/a/@b", "http://[::1]:80/a/***"),
        ("https://hooks.example.com/services/T024BE7LD/s3cret", "https://hooks.example.com/services/***"),
        ("https://example.com/on-failure/", "https://example.com/on-failure/"),
        ("https://example.com/api/webhooks/1/s3cret?wait=true", "https://example.com/api/***?***"),
        ("https://example.com/bot1:s3cret/send", "https://example.com/***/***"),
        ("https://example.com/7f3c2b1a-s3cret", "https://example.com/***"),
        ("https://example.com/" + "s" * 21, "https://example.com/***"),
        ("https://example.com//s3cret", "https://example.com//***"),
        ("https://example.com/%73ecret", "https://example.com/***"),
        ("https://user:s3cret@example.com/failed", "https://***@example.com/failed"),
        ("https://s3cret@example.com", "https://***@example.com"),
        ("https://user:a@s3cret@example.com", "https://***@example.com"),
        ("https://user:s3/cret@example.com/failed", "https://***"),
        ("https://user:s3?cret@example.com/failed", "https://***"),
        ("https://example.com/failed?token=s3cret", "https://example.com/failed?***"),
        ("https://example.com?token=s3cret&next=https://a@b", "https://example.com?***"),
        ("https://example.com/#s3cret", "https://example.com/#***"),
        ("HTTPS://user:s3cret@example.com/", "HTTPS://***@example.com/"),
        ("amqp://user:s3cret@example.com/", "amqp://***@example.com/"),
        (" https://user:s3cret@example.com/", "https://***@example.com/"),
        ("clean-up", "clean-up"),
        ("clean-up:prod", "clean-up:prod"),
        ("arn:aws:sqs:us-east-1:123456789012:failed", "arn:aws:sqs:us-east-1:123456789012:failed"),
        (17, 17),
    ],
)
def test_a_target_is_shown_without_passwords_and_tokens(target, shown):
    assert masked_target(target) == shown


@pytest.mark.parametrize(
    "target", ["https://user:s3cret@example.com/a b", "ftp://user:s3cret@example.com", "https:///?s3cret"]
)
def test_the_error_for_a_target_has_no_password(target):
    with pytest.raises(ConfigurationError) as refusal:
        EventConfig(on_failure=target)
    assert "on_failure='" in str(refusal.value)
    assert "s3cret" not in str(refusal.value)
