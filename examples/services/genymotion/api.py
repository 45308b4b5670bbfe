"""genymotion's API: notes the device in PostgreSQL and hands the boot to the worker."""

from collections.abc import Mapping

import storage
from fastapi import FastAPI
from opentelemetry.baggage import get_baggage
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from tracing import middleware_config  # first: tracing before what it traces
from worker import boot


def user_in_baggage(headers: Mapping[str, str]) -> str | None:
    """Return the user whom test-management sends along; none but our own services can call this one."""
    user = get_baggage("user.id", W3CBaggagePropagator().extract(headers))
    return user if isinstance(user, str) else None


storage.create_tables()
app = FastAPI()
middleware, options = middleware_config
app.add_middleware(middleware, **options, identify=user_in_baggage, identity_in_baggage=True)


@app.post("/devices", status_code=202)
def start_device(run: str, device: str) -> dict[str, str]:
    storage.add(run, device)
    task = boot.delay(run, device)
    return {"task": task.id}
