"""A server that speaks the protocols of OpenAI's, Anthropic's, Gemini's and Mistral's APIs."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "gpt-4o-mini-2024-07-18"
GEMINI_MODEL = "gemini-2.5-flash-001"
MISTRAL_MODEL = "mistral-small-2603"
USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}


def openai_chunks() -> list[dict[str, Any]]:
    common = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": MODEL,
    }
    texts = [
        {"role": "assistant", "content": ""},
        {"content": "Hel"},
        {"content": "lo"},
    ]
    chunks = [
        {
            **common,
            "choices": [{"index": 0, "delta": delta, "finish_reason": None}],
            "usage": None,
        }
        for delta in texts
    ]
    chunks.append(
        {
            **common,
            "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
            "usage": None,
        }
    )
    return [*chunks, {**common, "choices": [], "usage": USAGE}]


def openai_whole() -> dict[str, Any]:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "Hello"},
        "finish_reason": "stop",
    }
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": MODEL,
        "choices": [choice],
        "usage": USAGE,
    }


def anthropic_whole(**changes: Any) -> dict[str, Any]:
    usage = {
        "input_tokens": 5,
        "output_tokens": 4,
        "cache_read_input_tokens": 3,
        "cache_creation_input_tokens": 1,
    }
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x-1", "stop_sequence": None,
        "stop_reason": "end_turn", "content": [{"type": "text", "text": "Hello"}], "usage": usage, **changes,
    }  # fmt: skip


def anthropic_events() -> list[dict[str, Any]]:
    start = {
        "input_tokens": 5,
        "output_tokens": 1,
        "cache_read_input_tokens": 3,
        "cache_creation_input_tokens": 1,
    }
    block = {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "text", "text": ""},
    }
    deltas = [
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": t},
        }
        for t in ("Hel", "lo")
    ]
    end = {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 4},
    }
    return [
        {"type": "message_start", "message": anthropic_whole(content=[], stop_reason=None, usage=start)},
        block, *deltas, {"type": "content_block_stop", "index": 0}, end, {"type": "message_stop"},
    ]  # fmt: skip


def responses_events() -> list[dict[str, Any]]:
    """The events of OpenAI's newer API."""
    usage = {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13, "input_tokens_details": {"cached_tokens": 0},
             "output_tokens_details": {"reasoning_tokens": 0}}  # fmt: skip
    common = {"id": "resp_1", "object": "response", "created_at": 1, "model": MODEL,
              "parallel_tool_calls": True, "tool_choice": "auto", "tools": []}  # fmt: skip
    part = {"type": "output_text", "text": "", "annotations": []}
    item = {
        "type": "message",
        "id": "m",
        "role": "assistant",
        "status": "in_progress",
        "content": [],
    }
    whole = {**item, "status": "completed", "content": [{**part, "text": "Hello"}]}
    place = {"item_id": "m", "output_index": 0, "content_index": 0}
    delta = {"type": "response.output_text.delta", **place, "logprobs": []}
    events = [
        {"type": "response.created", "response": {**common, "status": "in_progress", "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.content_part.added", **place, "part": part},
        {**delta, "delta": "Hel"},
        {**delta, "delta": "lo"},
        {"type": "response.completed",
         "response": {**common, "status": "completed", "output": [whole], "usage": usage}},
    ]  # fmt: skip
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def gemini(
    text: str, *, candidates: int, finish_reason: str | None = None
) -> dict[str, Any]:
    """An answer of Gemini's, or a chunk: the counts of each chunk are those so far."""
    candidate: dict[str, Any] = {
        "index": 0,
        "content": {"role": "model", "parts": [{"text": text}]},
    }
    if finish_reason:
        candidate["finishReason"] = finish_reason
    usage = {
        "promptTokenCount": 9, "cachedContentTokenCount": 3, "candidatesTokenCount": candidates,
        "thoughtsTokenCount": 2, "totalTokenCount": 11 + candidates,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 4}, {"modality": "AUDIO", "tokenCount": 5}],
    }  # fmt: skip
    return {
        "candidates": [candidate],
        "usageMetadata": usage,
        "modelVersion": GEMINI_MODEL,
        "responseId": "gemini-1",
    }


def mistral_chunks() -> list[dict[str, Any]]:
    """The usage comes with the finish reason, in the last chunk."""
    chunks = openai_chunks()[1:-1]
    for chunk in chunks:
        chunk["model"] = MISTRAL_MODEL
    chunks[-1]["usage"] = {**USAGE, "prompt_tokens_details": {"cached_tokens": 3}}
    return chunks


def mistral_whole() -> dict[str, Any]:
    usage = {**USAGE, "prompt_tokens_details": {"cached_tokens": 3}}
    return {**openai_whole(), "model": MISTRAL_MODEL, "usage": usage}


class Provider(BaseHTTPRequestHandler):
    """Answers like these APIs, whole or as server-sent events, a chunk every few milliseconds."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith(":generateContent"):
            answer = gemini("Hello", candidates=4, finish_reason="STOP")
            self._whole(200, answer)
        elif ":streamGenerateContent" in self.path:
            last = gemini("lo", candidates=4, finish_reason="STOP")
            self._events([gemini("Hel", candidates=1), last])
        elif asked["model"] == "missing":
            self._whole(
                404,
                {
                    "error": {
                        "message": "no such model",
                        "type": "invalid_request_error",
                    }
                },
            )
        elif self.path.endswith("/responses"):
            self._events(responses_events(), named=True) if asked.get(
                "stream"
            ) else self._whole(200, responses_events()[-1]["response"])
        elif self.path.endswith("/messages"):
            self._events(anthropic_events(), named=True) if asked.get(
                "stream"
            ) else self._whole(200, anthropic_whole())
        elif self.path.startswith("/mistral/"):
            if asked.get("stream"):
                self._events(mistral_chunks(), done=True)
            else:
                self._whole(200, mistral_whole())
        elif asked.get("stream"):
            self._events(openai_chunks(), done=True)
        else:
            self._whole(200, openai_whole())

    def _whole(self, status: int, body: dict[str, Any]) -> None:
        encoded = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def _events(
        self, events: list[dict[str, Any]], *, named: bool = False, done: bool = False
    ) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        lines = [
            (f"event: {event['type']}\n" if named else "")
            + f"data: {json.dumps(event)}\n\n"
            for event in events
        ]
        for line in [*lines, *(["data: [DONE]\n\n"] if done else [])]:
            try:
                self.wfile.write(line.encode())
                self.wfile.flush()
            except OSError:
                return
            time.sleep(0.005)
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def provider() -> Iterator[str]:
    """Run the server; yield its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(10)
