"""Decorators at work: run it, and read the tree of spans it prints. Needs nothing but obs-core; nothing is sent anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

from obs_core import add_span_attributes, trace_function, trace_llm
from obs_core.testing import record_spans


class SoldOutError(Exception):
    """An answer of the shop, not a failure of the program."""


class Shop:
    """Every kind of method."""

    @trace_function(capture_args=("order_id",), expected=SoldOutError)
    def reserve(self, order_id: int, card_token: str) -> None:
        """Raise what is expected: the span shows no error."""
        raise SoldOutError(order_id, card_token)

    @trace_function
    @classmethod
    def prices(cls) -> Iterator[int]:
        """Yield: the span lasts until the last price."""
        yield from (1, 2, 3)


@trace_llm(provider="openai", model="gpt-4o-mini")
async def ask(prompt: str) -> AsyncIterator[dict[str, object]]:
    """Stream an answer as a provider's SDK would: usage comes with the last chunk."""
    for word in prompt.split():
        await asyncio.sleep(0)
        yield {"choices": [{"delta": {"content": word}}]}
    yield {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}


@trace_function(name="order")
async def order(order_id: int) -> None:
    """Call all of them."""
    add_span_attributes({"order.total": sum(Shop.prices()), "order.coupon": None})
    try:
        Shop().reserve(order_id, card_token="tok-1")
    except SoldOutError:
        async for _ in ask("say it is sold out"):
            pass


def main() -> None:
    """Print the tree."""
    with record_spans() as spans:
        asyncio.run(order(7))
    shown = (
        "order.total",
        "obs.args.order_id",
        "obs.items.count",
        "gen_ai.usage.input_tokens",
    )
    print(spans.tree(attributes=shown))


if __name__ == "__main__":
    main()
