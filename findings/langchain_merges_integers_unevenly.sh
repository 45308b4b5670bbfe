#!/usr/bin/env bash
# langchain-core 1.8.3.
#
# When message chunks are added, integers under one key of response_metadata are summed if they differ and kept if they
# are equal: 5 + 5 is 5, and 5 + 6 is 11. So `+` is not associative (1, 1 and 2 make 3 or 4, as the brackets are), a
# count of a stream is wrong as soon as two neighbours agree, and a status that changes becomes a number nobody sent.
#
# Expected by most: one rule for a key (the last value, or the sum), whatever the values happen to be.
#
# Output seen:
#   5 + 5 = 5
#   5 + 6 = 11
#   (1 + 1) + 2 = 3
#   1 + (1 + 2) = 4
#   200 + 429 = 629
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet langchain-core==1.8.3
"$folder/venv/bin/python" - <<'PROGRAM'
from langchain_core.messages import AIMessageChunk


def chunk(number):
    return AIMessageChunk("", response_metadata={"number": number})


for what, total, number in (
    ("5 + 5", chunk(5) + chunk(5), 5),
    ("5 + 6", chunk(5) + chunk(6), 11),
    ("(1 + 1) + 2", (chunk(1) + chunk(1)) + chunk(2), 3),
    ("1 + (1 + 2)", chunk(1) + (chunk(1) + chunk(2)), 4),
    ("200 + 429", chunk(200) + chunk(429), 629),
):
    print(what, "=", total.response_metadata["number"])
    assert total.response_metadata == {"number": number}, (what, total)
PROGRAM
