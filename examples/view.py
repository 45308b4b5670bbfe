"""Two services, one trace, no backend; needs obs-view, opentelemetry-sdk and opentelemetry-exporter-otlp."""

import time

import obs_view
from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind


def service(name: str, endpoint: str) -> TracerProvider:
    """Set up a service's tracing as in a process of its own."""
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, insecure=True))
    )
    return provider


def main() -> None:
    """Send one request through both, and print its trace."""
    with obs_view.Receiver(port=0, grpc_port=0) as receiver:
        shop, worker = (service(name, receiver.grpc_url) for name in ("shop", "worker"))
        carrier: dict[str, str] = {}
        with shop.get_tracer("example").start_as_current_span(
            "POST /orders", kind=SpanKind.SERVER
        ):
            time.sleep(0.01)
            with shop.get_tracer("example").start_as_current_span(
                "publish charge", kind=SpanKind.PRODUCER
            ):
                propagate.inject(carrier)
        try:
            context = propagate.extract(carrier)
            with worker.get_tracer("example").start_as_current_span(
                "process charge", context, SpanKind.CONSUMER
            ):
                time.sleep(0.02)
                trace.get_current_span().set_attribute("order.id", 42)
                raise ValueError("card declined")
        except ValueError:
            pass
        shop.shutdown()
        worker.shutdown()
        for received in receiver.wait_for(
            lambda traces: any(
                item.complete and len(item.spans) == 3 for item in traces
            )
        ):
            obs_view.render_trace(received)


if __name__ == "__main__":
    main()
