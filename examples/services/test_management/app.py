"""test-management: takes a test run from a signed-in user and asks genymotion for a device."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI
from obs_core import TracingConfig, setup_tracing
from obs_http import instrument_httpx

manager, (middleware, options) = setup_tracing(
    TracingConfig(service_name="test-management")
)
instrument_httpx(
    propagate_to=["127.0.0.1", "*.internal"]
)  # the trace and the user's id are for our own services alone


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with httpx.AsyncClient(
        base_url=os.environ["GENYMOTION_URL"], timeout=10
    ) as client:
        app.state.genymotion = client
        yield


app = FastAPI(lifespan=lifespan)
app.add_middleware(middleware, **options, identify="aws_alb", identity_in_baggage=True)


@app.post("/runs", status_code=202)
async def start_run(name: str, device: str) -> dict[str, str]:
    response = await app.state.genymotion.post(
        "/devices", params={"run": name, "device": device}
    )
    response.raise_for_status()
    return {"run": name, **response.json()}
