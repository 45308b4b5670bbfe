"""The table of services with particulars, and the small services: S3, Secrets Manager, Step Functions."""

from __future__ import annotations

from collections.abc import Mapping

from obs_aws._api_call import ApiCall
from obs_aws._attributes import Attributes, Params, text_attributes
from obs_aws._bedrock import BEDROCK
from obs_aws._dynamodb import DynamoDbCall
from obs_aws._eventbridge_kinesis import EventBridgeCall, KinesisCall
from obs_aws._lambda import LambdaCall
from obs_aws._messaging import MESSAGING
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


#: The class of calls by botocore's name of the service, or the classes by operation.
_SERVICES: dict[str, type[ApiCall] | Mapping[str, type[ApiCall]]] = {
    "bedrock-runtime": BEDROCK,
    "dynamodb": DynamoDbCall,
    "events": EventBridgeCall,
    "kinesis": KinesisCall,
    "lambda": LambdaCall,
    "s3": S3Call,
    "secretsmanager": ArnCall,
    "sns": MESSAGING,
    "sqs": MESSAGING,
    "stepfunctions": ArnCall,
}


def api_call(client: ClientState, operation: str, params: Params) -> ApiCall:
    """Return the call of `operation`: an `ApiCall`, or a subclass for a service with particulars."""
    kind = _SERVICES.get(client.service, ApiCall)
    if isinstance(kind, Mapping):
        kind = kind.get(operation, ApiCall)
    return kind(client, operation, params)
