"""EventBridge and Kinesis: calls that send events."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from obs_aws._api_call import ApiCall
from obs_aws._attributes import Attributes, Params, text_attributes
from obs_aws._propagation import context_headers, xray_header

#: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecord.html, before the limit was raised
_MAX_RECORD_BYTES = 1_000_000


class _EventCall(ApiCall):
    """A call of a service that takes events; the span of a sending operation is a PRODUCER.

    Attributes:
        sends: The operations that send events.
        batch: The parameter with the list of events.
    """

    sends: ClassVar[tuple[str, ...]]
    batch: ClassVar[str]

    def begin(self) -> ApiCall:
        """Start the span, of kind PRODUCER if the call sends events."""
        if self.operation in self.sends:
            self.kind = SpanKind.PRODUCER
        return super().begin()

    def attributes(self) -> Attributes:
        """Return the stream, and the number of events in a batch."""
        attributes = text_attributes(
            self.params, {"StreamName": "aws.kinesis.stream_name"}
        )
        if self.batch in self.params:
            attributes["messaging.batch.message_count"] = len(self.params[self.batch])
        return attributes

    def read(self, result: Mapping[str, Any]) -> None:
        """Record the number of refused events."""
        if failed := result.get("FailedEntryCount") or result.get("FailedRecordCount"):
            self.span.set_attribute("aws.failed_entry_count", failed)


class EventBridgeCall(_EventCall):
    """A call of EventBridge: ``TraceHeader`` of an event takes the trace context in X-Ray's format only."""

    sends = ("PutEvents",)
    batch = "Entries"

    def carry(self, context: Context | None) -> Params:
        """Set ``TraceHeader`` of the events that have no trace header."""
        if self.operation not in self.sends:
            return self.params
        header = xray_header(context)
        entries = self.params.get("Entries")
        if not header or not isinstance(entries, (list, tuple)):
            return self.params
        with_header = [{"TraceHeader": header, **entry} for entry in entries]
        return {**self.params, "Entries": with_header}


class KinesisCall(_EventCall):
    """A call of Kinesis: a record is bytes. The trace context is added on request only, to JSON objects."""

    sends = ("PutRecord", "PutRecords")
    batch = "Records"

    def carry(self, context: Context | None) -> Params:
        """Add the trace context to the data of the records, on request."""
        if not self.options.kinesis_context or self.operation not in self.sends:
            return self.params
        headers = context_headers(context)
        if "Records" not in self.params:
            return _with_members(self.params, headers)
        records = [_with_members(record, headers) for record in self.params["Records"]]
        return {**self.params, "Records": records}


def _with_members(
    record: Mapping[str, Any], headers: Mapping[str, str]
) -> Mapping[str, Any]:
    """Return a copy of `record` with `headers` in the JSON object; `record` if the data is no JSON object or too big."""
    try:
        data = json.loads(record["Data"])
    except (KeyError, TypeError, ValueError):
        return record
    if not headers or not isinstance(data, dict):
        return record
    encoded = json.dumps({**data, **headers}).encode()
    if len(encoded) > _MAX_RECORD_BYTES:
        return record
    return {**record, "Data": encoded}
