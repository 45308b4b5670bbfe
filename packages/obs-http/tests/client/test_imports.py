"""Libraries that are imported late, under two names, or not installed at all."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

needs_httpx2 = pytest.mark.skipif(
    find_spec("httpx2") is None, reason="httpx2 needs Python 3.11"
)
HAS_ALIAS = find_spec("httpx2") is not None and find_spec("httpx2._alias") is not None
needs_alias = pytest.mark.skipif(not HAS_ALIAS, reason="this httpx2 has no alias_httpx")

BEGIN = """
import sys
from obs_core.testing import record_spans
from obs_http import instrument_httpx, uninstrument_httpx

def count(httpx):
    answer = httpx.MockTransport(lambda request: httpx.Response(200))
    with record_spans() as spans, httpx.Client(transport=answer) as client:
        client.get("http://shop/")
        return len(spans)
"""


MISSING = """
from importlib.machinery import PathFinder
find = PathFinder.find_spec
PathFinder.find_spec = lambda name, *args: None if name in {missing} else find(name, *args)
"""


def run(code: str, *missing: str) -> None:
    """Run `code` in a new process, because a module is imported only once; `missing` are not installed there."""
    code = BEGIN + MISSING.format(missing=missing) + code
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)


@pytest.mark.promise("HTTP-13")
@needs_httpx2
def test_what_is_imported_later_is_traced() -> None:
    """Instrumenting imports neither library; a look for the module, as tools do, does not spoil it."""
    run(
        """
from importlib.util import find_spec
handle = instrument_httpx()
assert not {"httpx", "httpx2"} & set(sys.modules)
assert find_spec("httpx2") and find_spec("httpx")
before = list(sys.meta_path)
import httpx, httpx2
assert len(sys.meta_path) == len(before) - 2
assert (count(httpx), count(httpx2)) == (1, 1)
handle.uninstrument()
assert (count(httpx), count(httpx2)) == (0, 0)
"""
    )


@pytest.mark.promise("HTTP-13")
@needs_httpx2
def test_undone_before_the_import_there_is_nothing_left() -> None:
    """The import system is as it was, and the classes are."""
    run(
        """
before = list(sys.meta_path)
instrument_httpx().uninstrument()
assert sys.meta_path == before
import httpx2
assert count(httpx2) == 0
"""
    )


@pytest.mark.promise("HTTP-13")
@needs_alias
@pytest.mark.parametrize("first", ["alias_httpx()", "instrument_httpx()"])
def test_an_alias_comes_before_or_after(first: str) -> None:
    """`alias_httpx()` may still come after instrumenting; the classes with two names make one span a request."""
    second = {"alias_httpx()": "instrument_httpx()"}.get(first, "alias_httpx()")
    run(
        f"""
from httpx2 import alias_httpx
{first}
{second}
import httpx, httpx2
assert httpx is httpx2
assert count(httpx) == 1
uninstrument_httpx()
assert count(httpx) == 0
"""
    )


@pytest.mark.promise("HTTP-13")
@needs_alias
def test_contribs_spans_of_an_aliased_httpx_are_not_doubled() -> None:
    """Contrib's instrumentation of httpx has httpx2 before it then."""
    run(
        """
from httpx2 import alias_httpx
alias_httpx()
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
import httpx2
instrument_httpx()
assert count(httpx2) == 1
HTTPXClientInstrumentor().instrument()
assert count(httpx2) == 0  # contrib does not see a transport without network
"""
    )


@pytest.mark.promise("HTTP-13")
@needs_httpx2
@pytest.mark.parametrize("missing", ["httpx", "httpx2"])
def test_either_library_may_be_missing(missing: str) -> None:
    """The other one is traced, a client of it alone as well."""
    other = {"httpx": "httpx2"}.get(missing, "httpx")
    run(
        f"""
instrument_httpx()
import {other} as there
assert count(there) == 1
uninstrument_httpx()
with there.Client(transport=there.MockTransport(lambda request: there.Response(200))) as client:
    with record_spans() as spans:
        instrument_httpx(client)
        client.get("http://shop/")
        assert len(spans) == 1
""",
        missing,
    )


@pytest.mark.promise("HTTP-13")
def test_without_any_library_it_says_so() -> None:
    """With the command that installs it."""
    run(
        """
from obs_core.exceptions import MissingDependencyError
try:
    instrument_httpx()
except MissingDependencyError as error:
    assert "pip install 'httpx<1,>=0.27'" in str(error), error
else:
    raise AssertionError
""",
        "httpx",
        "httpx2",
    )
