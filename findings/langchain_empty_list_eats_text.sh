#!/usr/bin/env bash
# langchain-core 1.8.3.
#
# Adding message chunks whose first content is an empty list loses all text that follows: [] + "hello" is []. As soon
# as the list holds one block, the same text is kept; with the operands swapped it is kept too. The reduction of a
# stream by `+`, the documented way to join its chunks, so ends with an empty message, without a warning.
#
# Expected by most: an empty content is the neutral element of `+`, as "" is.
#
# Output seen:
#   [] + 'hello' + ' you' = []
#   'hello' + ' you' + [] = ['hello you']
#   '' + 'hello' + ' you' = 'hello you'
#   [{'type': 'text', 'text': 'so'}] + 'hello' + ' you' = [{'type': 'text', 'text': 'so'}, 'hello you']
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet langchain-core==1.8.3
"$folder/venv/bin/python" - <<'PROGRAM'
from functools import reduce
from operator import add

from langchain_core.messages import AIMessageChunk


def joined(*contents):
    content = reduce(add, [AIMessageChunk(content) for content in contents]).content
    print(" + ".join(map(repr, contents)), "=", repr(content))
    return content


block = {"type": "text", "text": "so"}
assert joined([], "hello", " you") == []
assert joined("hello", " you", []) == ["hello you"]
assert joined("", "hello", " you") == "hello you"
assert joined([block], "hello", " you") == [block, "hello you"]
PROGRAM
