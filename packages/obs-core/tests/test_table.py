"""docs/configuration.md says what the code does."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from obs_core import CorrelationConfig, TracingConfig
from obs_core._config.table import SETTINGS

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"
_ROW = re.compile(r"^\| `(\w+)` \| (.+) \| `(.+?)` \| (.*?) ?\|$", re.MULTILINE)
ROWS = {
    name: (meaning, default, cell)
    for name, meaning, default, cell in _ROW.findall(PAGE.read_text(encoding="utf-8"))
}


@pytest.mark.promise("CORE-06")
def test_every_setting_is_on_the_page_in_the_order_of_the_code() -> None:
    """Those of `TracingConfig`, and those of the environment alone."""
    in_code = [field.name for field in fields(TracingConfig)]
    in_environment = ["disabled", "exporter", "spans"]
    for signal in ("logs", "metrics"):
        in_environment += [
            f"{signal}_{part}" for part in ("url", "protocol", "headers")
        ]
    assert sorted(ROWS) == sorted([*in_code, *in_environment]) == sorted(SETTINGS)


@pytest.mark.promise("CORE-06")
@pytest.mark.parametrize("name", ROWS)
def test_default_and_variables_are_the_codes(name: str) -> None:
    """Names and their order."""
    _, default, cell = ROWS[name]
    shown = CorrelationConfig() if name == "correlation" else eval(default)
    assert shown == SETTINGS[name].default
    listed = [
        found
        for found in re.findall(r"`([A-Z_]+)`", cell)
        if found != "OTEL_TRACES_SAMPLER_ARG"
    ]
    assert listed == [variable.name for variable in SETTINGS[name].variables]
