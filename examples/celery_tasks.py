"""A task that is retried once, as one trace: ``python examples/celery_tasks.py`` (an in-memory broker, no server)."""

from __future__ import annotations

from celery import Celery, Task
from celery.contrib.testing.worker import start_worker
from obs_celery import instrument_celery
from obs_core import TracingConfig, setup_tracing
from opentelemetry import trace
from opentelemetry.sdk.trace.export import ConsoleSpanExporter

app = Celery("orders", broker="memory://localhost", backend="cache+memory://")
instrument_celery(app)


@app.task(bind=True)
def ship(self: Task, order_id: int) -> str:
    if self.request.retries == 0:
        raise self.retry(countdown=0)
    return f"shipped {order_id}"


def main() -> None:
    exporter = ConsoleSpanExporter(
        formatter=lambda span: f"{span.name} {dict(span.attributes or {})}\n"
    )
    manager, _ = setup_tracing(
        TracingConfig(service_name="orders"), span_exporter=exporter
    )
    with start_worker(app, pool="solo", perform_ping_check=False):
        with trace.get_tracer("orders").start_as_current_span("POST /orders"):
            result = ship.delay(7)
        print(result.get(timeout=10))
    manager.shutdown()


if __name__ == "__main__":
    main()
