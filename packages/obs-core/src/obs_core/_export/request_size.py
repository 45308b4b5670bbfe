"""The size of an export request: what a collector would refuse for its size is sent in parts.

A refused request costs all its spans, and those of gRPC hold up the export, since the exporter tries them again and again.
"""

from __future__ import annotations

from collections.abc import Sequence

from obs_core._export.encode.encoder import EncodedItem, Encoder
from obs_core._export.verdict import pending_verdict

#: What a gRPC server takes in a message unless it is told otherwise; the Collector's default too.
MAX_REQUEST_BYTES = 4 * 1024 * 1024


class TooLargeError(Exception):
    """A batch makes too large a request; nothing has been sent."""


def encode(encoder: Encoder, batch: Sequence[object]) -> bytes:
    """Return the request of `batch`; a single span has one of any size.

    Raises:
        TooLargeError: The batch must be sent in parts.
        Exception: A span cannot be encoded, by the SDK either.
    """
    request = encoder.request(batch)  # type: ignore[arg-type] # the exporters give what they were given
    if len(request) > MAX_REQUEST_BYTES and len(batch) > 1:
        # beside the exception, which the HTTP exporters catch from 1.45 on
        pending_verdict().is_too_large = True
        raise TooLargeError(f"{len(request)} bytes")
    return request


def how_many_fit(batch: Sequence[object]) -> int:
    """Return how many of the first spans fit into a request, at least 1; spans that are not encoded count as nothing."""
    left = MAX_REQUEST_BYTES
    for number, span in enumerate(batch):
        if isinstance(span, EncodedItem):
            # the rest are its lengths, and the resource and scope it may bring
            left -= len(span.message) + sum(map(len, span.group.parts)) + 64
        if left < 0:
            return max(1, number)
    return len(batch)
