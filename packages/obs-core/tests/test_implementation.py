"""Which implementation a call of ``instrument_x`` has: named, of the environment, or the default."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from obs_core.exceptions import ConfigurationError
from obs_core.integration import Implementation, choose_implementation


@pytest.mark.parametrize(
    ("text", "redis", "sqlalchemy"),
    [
        ("", "obs", "obs"),
        ("contrib", "contrib", "contrib"),
        ("redis=contrib", "contrib", "obs"),
        ("contrib, redis = obs", "obs", "contrib"),
        ("redis=contrib,sqlalchemy=obs,", "contrib", "obs"),
    ],
)
def test_the_environment_says(
    text: str, redis: str, sqlalchemy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For all, or for one by its name, which wins."""
    monkeypatch.setenv("OBS_IMPLEMENTATION", text)
    chosen = [choose_implementation(name, None) for name in ("redis", "sqlalchemy")]
    assert [each.name for each in chosen] == [redis, sqlalchemy]
    assert choose_implementation("redis", "obs") == Implementation("obs")


@pytest.mark.parametrize(
    "text", ["otel", "redis=otel", "mongo=contrib", "=contrib", "redis="]
)
def test_a_wrong_variable_says_the_fix(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its value, what is wrong, and how it is written."""
    monkeypatch.setenv("OBS_IMPLEMENTATION", text)
    with pytest.raises(
        ConfigurationError, match=r"redis=contrib,sqlalchemy=obs"
    ) as told:
        choose_implementation("redis", None)
    assert f"OBS_IMPLEMENTATION={text!r}" in str(told.value)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("otel", None, "implementation='otel'"),
        ("obs", {"request_hook": print}, "contrib_options"),
        (None, {"request_hook": print}, "contrib_options"),
        ("contrib", {"tracer_provider": None}, "argument of its own"),
    ],
)
def test_a_wrong_argument_says_the_fix(name: str, options: object, said: str) -> None:
    """An unknown name; contrib's options for ours; a provider past the one that shapes."""
    with pytest.raises(ConfigurationError, match=said):
        choose_implementation("redis", name, options)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Options:
    roots: bool = True
    slow: float = 0.5
    internal: int = field(default=0, compare=False)


def test_options_of_ours_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused for contrib where the call names it; a warning where the environment does; nothing for ours."""
    monkeypatch.setenv("OBS_IMPLEMENTATION", "contrib")
    given, honoured = Options(roots=False, slow=1, internal=3), ("roots",)
    choose_implementation("redis", "obs").check_options(
        given, Options(), honoured=honoured
    )
    choose_implementation("redis", None).check_options(
        given, Options(), honoured=honoured
    )
    assert caplog.text.count("slow: not an option") == 1
    with pytest.raises(ConfigurationError, match=r"^slow: not an option"):
        choose_implementation("redis", "contrib").check_options(
            given, Options(), honoured=honoured
        )
