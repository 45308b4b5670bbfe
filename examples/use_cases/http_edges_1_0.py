"""The same with the functions of 1.0, whose names and options were others: the user is in a captured header."""

import asyncio

import httpx
from distributed_observability import (
    FastAPIConfig,
    TracingConfig,
    instrument_httpx_client,
    setup_tracing,
)
from fastapi import FastAPI

app = FastAPI()
fastapi_config = FastAPIConfig(
    capture_request_headers=["x-correlation-id", "x-amzn-oidc-identity"]
)
tracer_manager, middleware_config = setup_tracing(
    TracingConfig(service_name="my-service"), app, fastapi_config
)
app.add_middleware(*middleware_config)


@app.get("/orders/{number}")
async def order(number: int) -> int:
    return number


async def main() -> None:
    headers = {"x-amzn-oidc-identity": "ada", "X-Correlation-ID": "c-1"}
    transport = httpx.ASGITransport(app)
    client = httpx.AsyncClient(
        transport=transport, base_url="http://orders", headers=headers
    )
    async with instrument_httpx_client(client) as instrumented:
        response = await instrumented.get("/orders/7")
    assert response.headers["X-Correlation-ID"] == "c-1"


if __name__ == "__main__":
    asyncio.run(main())
