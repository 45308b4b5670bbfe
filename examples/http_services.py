"""Two services in one process, one trace: FastAPI → httpx → FastAPI, printed as a tree.

pip install ./packages/obs-core './packages/obs-http[instruments]' uvicorn && python examples/http_services.py
"""

import threading
import time

import httpx
import uvicorn
from fastapi import FastAPI
from obs_core.testing import record_spans
from obs_http import instrument_fastapi, instrument_httpx

stock, shop = FastAPI(title="stock"), FastAPI(title="shop")


@stock.get("/stock/{item_id}")
async def available(item_id: int) -> int:
    return 3


@shop.get("/items/{item_id}")
async def item(item_id: int) -> dict[str, int]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(stock), base_url="http://stock"
    ) as client:
        return {
            "id": item_id,
            "available": (await client.get(f"/stock/{item_id}")).json(),
        }


def main() -> None:
    with record_spans() as spans:
        instrument_fastapi(stock, service_name="stock")
        instrument_fastapi(shop, service_name="shop")
        instrument_httpx()
        server = uvicorn.Server(uvicorn.Config(shop, port=0, log_level="warning"))
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        answer = httpx.get(
            f"http://127.0.0.1:{port}/items/7",
            headers={"X-Correlation-ID": "order-4711"},
        )
        server.should_exit = True
        thread.join()
        print(answer.json(), answer.headers["X-Correlation-ID"])
        print(spans.tree(attributes=["http.response.status_code", "correlation_id"]))


if __name__ == "__main__":
    main()
