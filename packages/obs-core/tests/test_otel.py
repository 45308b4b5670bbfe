"""The classes for ``opentelemetry-instrument``; obs-db's tests run the launcher itself."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from obs_core._safety import containment
from obs_core.exceptions import MissingDependencyError
from obs_core.integration import OtelInstrumentor, otel_instrumentor

VARIABLE = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"


@pytest.fixture
def contrib(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Contrib's instrumentation of `mail` is installed."""
    info = tmp_path / "opentelemetry_instrumentation_mail-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Name: opentelemetry-instrumentation-mail\nVersion: 1.0\n"
    )
    (info / "entry_points.txt").write_text(
        "[opentelemetry_instrumentor]\nmail = nothing:Nothing\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(containment, "_warned", set())


def make() -> tuple[type[OtelInstrumentor], list[str]]:
    calls: list[str] = []
    made = otel_instrumentor(
        "MailInstrumentor",
        lambda: calls.append("instrument"),
        lambda: calls.append("uninstrument"),
        contrib="mail",
    )
    return made, calls


@pytest.mark.parametrize("disabled", ["django, mail", "*"])
def test_instruments_and_undoes(
    contrib: None, monkeypatch: pytest.MonkeyPatch, disabled: str
) -> None:
    """Whatever options the launcher passes, where contrib's is switched off."""
    monkeypatch.setenv(VARIABLE, disabled)
    mail, calls = make()
    assert mail.__name__ == "MailInstrumentor"
    mail().instrument(skip_dep_check=True)
    mail().uninstrument()
    assert calls == ["instrument", "uninstrument"]


def test_stands_back_where_contrib_runs_too(
    contrib: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning says how to change that."""
    monkeypatch.delenv(VARIABLE, raising=False)
    mail, calls = make()
    with caplog.at_level(logging.WARNING):
        mail().instrument()
        mail().instrument()
    assert calls == []
    assert caplog.text.count(f"set {VARIABLE}=mail") == 1


def test_instruments_where_contrib_is_not_installed() -> None:
    """Without asking for anything."""
    mail, calls = make()
    mail().instrument()
    assert calls == ["instrument"]


def test_a_library_that_is_missing_does_not_stop_the_launcher() -> None:
    """Of a package that instruments several libraries, one may be missing."""

    def instrument() -> None:
        raise MissingDependencyError("obs-mail needs mail")

    otel_instrumentor("MailInstrumentor", instrument, lambda: None)().instrument()
