"""What ``opentelemetry-instrument`` loads."""

from __future__ import annotations

from obs_aws._instrument import instrument_boto3, uninstrument_boto3


class Boto3Instrumentor:
    """`instrument_boto3` as ``opentelemetry-instrument`` calls it, with the default options."""

    def instrument(self, **_: object) -> None:
        """Instrument every session."""
        instrument_boto3()

    def uninstrument(self, **_: object) -> None:
        """Take it back."""
        uninstrument_boto3()
