"""The table of services with particulars, and the small services: S3, Secrets Manager, Step Functions."""

from __future__ import annotations

from collections.abc import Callable

from obs_aws._api_call import ApiCall
from obs_aws._attributes import Attributes, Params, text_attributes
from obs_aws._bedrock import bedrock_call
from obs_aws._dynamodb import DynamoDbCall
from obs_aws._events import EventBridgeCall, KinesisCall
from obs_aws._lambda import LambdaCall
from obs_aws._messaging import sns_call, sqs_call
from obs_aws._state import ClientState

_ARNS = {
    "SecretId": "aws.secretsmanager.secret.arn",
    "activityArn": "aws.step_functions.activity.arn",
    "stateMachineArn": "aws.step_functions.state_machine.arn",
}


class ArnCall(ApiCall):
    """A call whose target has an ARN."""

    def attributes(self) -> Attributes:
        """Return the ARN; a bare name is left out."""
        attributes: Attributes = {}
        for name, value in text_attributes(self.params, _ARNS).items():
            if str(value).startswith("arn:"):
                attributes[name] = value
        return attributes


class S3Call(ApiCall):
    """A call of S3."""

    def attributes(self) -> Attributes:
        """Return the bucket, and the key on request."""
        names = {"Bucket": "aws.s3.bucket"}
        if self.options.capture_s3_keys:
            names["Key"] = "aws.s3.key"
        return text_attributes(self.params, names)


#: Services by botocore's name; a call of any other service is an `ApiCall`.
API_CALLS: dict[str, Callable[[ClientState, str, Params], ApiCall]] = {
    "bedrock-runtime": bedrock_call,
    "dynamodb": DynamoDbCall,
    "events": EventBridgeCall,
    "kinesis": KinesisCall,
    "lambda": LambdaCall,
    "s3": S3Call,
    "secretsmanager": ArnCall,
    "sns": sns_call,
    "sqs": sqs_call,
    "stepfunctions": ArnCall,
}
