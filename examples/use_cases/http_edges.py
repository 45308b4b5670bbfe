"""HTTP in and out: the correlation id goes through, and the user is the one that the load balancer signed in."""

import asyncio

import httpx
from fastapi import FastAPI
from obs_core import TracingConfig, setup_tracing
from obs_http import instrument_fastapi, instrument_httpx

setup_tracing(TracingConfig(service_name="my-service"))
instrument_httpx()
app = FastAPI()
instrument_fastapi(app, identify="aws_alb")


@app.get("/orders/{number}")
async def order(number: int) -> int:
    return number


async def main() -> None:
    headers = {"x-amzn-oidc-identity": "ada", "X-Correlation-ID": "c-1"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://orders", headers=headers
    ) as client:
        response = await client.get("/orders/7")
    assert response.headers["X-Correlation-ID"] == "c-1"


if __name__ == "__main__":
    asyncio.run(main())
