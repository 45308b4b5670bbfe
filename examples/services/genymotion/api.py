"""genymotion's API: notes the device in PostgreSQL and hands the boot to the worker."""

import storage
from fastapi import FastAPI
from tracing import middleware_config  # first: tracing before what it traces
from worker import boot

storage.create_tables()
app = FastAPI()
middleware, options = middleware_config
app.add_middleware(
    middleware, **options, identity_from_baggage=True
)  # none but our own services can call this one


@app.post("/devices", status_code=202)
def start_device(run: str, device: str) -> dict[str, str]:
    storage.add(run, device)
    task = boot.delay(run, device)
    return {"task": task.id}
