"""The entry point by which ``opentelemetry-instrument`` finds this package."""

from __future__ import annotations

from obs_aws._instrument import instrument_boto3, uninstrument_boto3


class Boto3Instrumentor:
    """Instruments every session with the default options."""

    def instrument(self, **_: object) -> None:
        """Call `instrument_boto3`; the options of contrib's loader have no meaning here."""
        instrument_boto3()

    def uninstrument(self, **_: object) -> None:
        """Call `uninstrument_boto3`."""
        uninstrument_boto3()
