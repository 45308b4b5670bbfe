"""What a message's headers may say, and what is made of it."""

from __future__ import annotations

import pytest
from celery.app.task import Context
from obs_celery._message import ATTEMPT, drawn_span_id


@pytest.mark.promise("CEL-04")
@pytest.mark.parametrize("value", ["z" * 16, "0" * 16, "12", 7, None, "G23456789012345\n"])
def test_a_strangers_attempt_is_no_span_id(value: object) -> None:
    """Our key is ours only on the way from a worker's main process to its child; what else stands there is ignored."""
    assert drawn_span_id(Context({ATTEMPT: value})) is None
    assert drawn_span_id(Context({ATTEMPT: "00000000000000ff"})) == 255
