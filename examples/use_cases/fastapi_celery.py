"""A FastAPI service that publishes Celery tasks: trace context travels in the task's headers."""

import os

from celery import Celery
from fastapi import FastAPI
from obs_celery import instrument_celery
from obs_core import TracingConfig, setup_tracing
from starlette.testclient import TestClient

config = TracingConfig(
    service_name="my-service", environment="production", sampling_rate=1.0
)
tracer_manager, middleware_config = setup_tracing(config)
app = FastAPI()
app.add_middleware(*middleware_config)
celery_app = Celery(
    "my-service", broker=os.environ.get("REDIS_URL", "redis://localhost:6379/0")
)
instrument_celery(celery_app)


@celery_app.task
def process_task(data: str) -> dict[str, object]:
    return {"processed": True, "data": data}


@app.post("/process")
def process(data: str) -> str:
    return str(process_task.delay(data).id)


if __name__ == "__main__":
    with TestClient(app) as http:
        http.post("/process", params={"data": "x"}).raise_for_status()
