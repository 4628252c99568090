"""What a template means, as AWS SAM and CloudFormation read it: each row names its test."""

from tests.rows.row import Row

ROWS = [
    Row(
        "names that SAM generates resolve",
        test="fetchers/sam/test_names_and_code.py::test_a_name_that_sam_generates_resolves",
    ),
    Row("CodeUri may be one file", test="fetchers/sam/test_names_and_code.py::test_code_in_one_file_runs"),
    Row(
        "a layer of another stack is given by its ARN",
        test="fetchers/sam/test_names_and_code.py::test_a_layer_at_aws_is_a_folder_by_its_arn",
    ),
    Row(
        "values of other resources are known",
        test="fetchers/sam/test_stand_ins.py::test_a_function_starts_with_a_stand_in_and_one_warning_that_names_the_setting",
        reason="Values that only AWS has are stand-ins",
    ),
    Row(
        "secrets of other services are known",
        test="fetchers/sam/test_stand_ins.py::test_a_secret_has_no_stand_in",
        reason="Secrets that only AWS has stop their function",
    ),
    Row(
        "events of other services call the function",
        test="fetchers/sam/test_notes.py::test_a_feature_that_is_not_served_is_one_warning",
        reason="Event sources, VPCs and tracing are not served",
    ),
]
