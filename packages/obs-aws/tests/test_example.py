"""The example: an API, a queue, a consumer and a database, each in a process of its own, told as one trace."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[3] / "examples" / "aws.py"
SINGLE = """\
POST /orders [SERVER]
  send orders [PRODUCER]
    process orders [CONSUMER]
      DynamoDB.BatchWriteItem [CLIENT] aws.dynamodb.table_names=['orders']
      delete orders [CLIENT]
"""
LINKS = """\
process orders has 10 links:
  4 x POST /import/1 > create orders
  3 x POST /import/2 > create orders
  3 x POST /import/3 > create orders
"""


@pytest.mark.promise("AWS-03", "AWS-04", "AWS-09")
def test_three_processes_tell_one_trace() -> None:
    """A single message continues its trace; a batch of ten messages of three traces has a link to each."""
    answer = subprocess.run(
        [sys.executable, EXAMPLE],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert SINGLE in answer.stdout
    assert LINKS in answer.stdout
    assert LINKS.replace("process", "receive") in answer.stdout
