"""Paths match whole."""

import pytest
from obs_http.server._exclusion import Exclusion


@pytest.mark.promise("HTTP-05")
@pytest.mark.parametrize(
    ("path", "root_path", "answer"),
    [
        ("/health", "", True),
        ("/health/", "", True),
        ("/healthz", "", True),
        ("/readyz", "", True),
        ("/metrics", "", True),
        ("/api/health", "/api", True),
        ("/healthy-items", "", False),
        ("/items/health", "", False),
        ("/health/of/my/horse", "", False),
        ("/api/health", "", False),
        ("/", "", False),
        ("", "", False),
    ],
)
def test_the_default_paths_match_whole(path: str, root_path: str, answer: bool) -> None:
    """``/health`` is excluded, below a proxy's prefix as well; ``/healthy-items`` is not."""
    assert Exclusion(None)({"path": path, "root_path": root_path}) is answer


@pytest.mark.promise("HTTP-05")
def test_globs_and_nothing_at_all() -> None:
    """A glob takes in what is below; an empty list excludes nothing; ``/`` is the root alone."""
    below = Exclusion(["/internal/*", "/"])
    answers = [
        below({"path": path}) for path in ("/internal/a/b", "/internal", "/", "/x")
    ]
    assert answers == [True, False, True, False]
    assert Exclusion([])({"path": "/health"}) is False
