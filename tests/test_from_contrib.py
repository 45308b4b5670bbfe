"""docs/from-contrib.md leaves out nothing that the installed contrib can be told or writes, and names nothing that we lack.

Contrib is read, not run: signatures, the keys that are taken from ``kwargs``, variables and constants.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "from-contrib.md"
CONTRIB = "opentelemetry.instrumentation"
INSTRUMENTATIONS = (
    *("fastapi", "asgi", "httpx", "requests", "celery"),
    *("sqlalchemy", "redis", "botocore", "grpc"),
)
PACKAGES = ("obs_core", "obs_http", "obs_celery", "obs_db", "obs_aws", "obs_grpc")
#: Functions and classes of contrib's whose parameters are options, in addition to ``…Instrumentor`` classes.
_WAYS_IN = re.compile(
    r"_?instrument(_app|_client|_engine)?|(aio_)?(client|server)_interceptors?"
    r"|_which_channel"
)
_CLASSES = re.compile(
    r"(Open|SyncOpen|AsyncOpen)Telemetry(Middleware|Transport)|\w*Instrumentor(Client|Server)?"
)
#: Parameters that are what is instrumented, or what a private helper is handed.
_NO_OPTIONS = {"self", "cls", "app", "client", "transport", "tracer", "meter", "kwargs"}
_PRIVATE = re.compile(r"captured_|sensitive_|sem_conv|duration_histogram_(old|new)$")
_NAME = re.compile(
    r"(http|net|db|rpc|messaging|celery|url|server|client|network|error|aws|gen_ai|faas"
    r"|cloud|user_agent|asgi|flower)\.[a-z_.]+"
)
#: Values of attributes, and types of messages, that look like names.
_NO_NAMES = re.compile(r"aws\.(sns|sqs|bedrock)|http\.response\.(body|start|trailers)")

each = pytest.mark.parametrize("library", INSTRUMENTATIONS)


def sources(library: str) -> Iterator[tuple[ModuleType, ast.Module]]:
    """Yield each module of contrib's instrumentation with its source."""
    root = pytest.importorskip(f"{CONTRIB}.{library}")
    folder = Path(root.__file__ or "").parent
    for path in sorted(folder.rglob("*.py")):
        parts = [library, *path.relative_to(folder).with_suffix("").parts]
        name = f"{CONTRIB}." + ".".join(parts).removesuffix(".__init__")
        yield importlib.import_module(name), ast.parse(path.read_text())


def options(library: str) -> set[str]:
    """Return every option of contrib's instrumentation, by whatever way in."""
    found: set[str] = set()
    for _, tree in sources(library):
        for owner, function in _functions(tree):
            is_class = function.name == "__init__" and _CLASSES.fullmatch(owner)
            if is_class or _WAYS_IN.fullmatch(function.name):
                found |= _parameters(function)
    return {name for name in found - _NO_OPTIONS if not _PRIVATE.match(name)}


def _functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in ast.walk(tree):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef):
                yield getattr(node, "name", ""), child


def _parameters(function: ast.FunctionDef) -> set[str]:
    given = function.args
    named = {one.arg for one in (*given.args, *given.kwonlyargs)}
    called = {name for node in ast.walk(function) for name in _keys(node)}
    return named | called


def _keys(node: ast.AST) -> Iterator[str]:
    """Yield the key, where `node` is ``kwargs.get("key")``."""
    match node:
        case ast.Call(
            func=ast.Attribute(value=ast.Name(id="kwargs"), attr="get" | "pop"),
            args=[ast.Constant(value=str(key)), *_],
        ):
            yield key


def variables(library: str) -> set[str]:
    """Return the variables that contrib's instrumentation reads."""
    texts = [inspect.getsource(module) for module, _ in sources(library)]
    return set(re.findall(r"OTEL_[A-Z_]+[A-Z]", "\n".join(texts)))


def names(library: str) -> set[str]:
    """Return the attributes and metrics that contrib's instrumentation may write, in both conventions."""
    shared = importlib.import_module(f"{CONTRIB}._semconv")
    helpers = {f.name: f for _, f in _functions(ast.parse(inspect.getsource(shared)))}
    todo: list[tuple[ModuleType, ast.AST]] = [*sources(library)]
    found: set[str] = set()
    for module, tree in todo:
        for node in ast.walk(tree):
            found.add(str(_value(node, module)))
            helper = helpers.pop(getattr(node, "id", ""), None)
            if helper is not None and helper.name.startswith("_set_"):
                todo.append((shared, helper))
    texts = {one for one in found if _NAME.fullmatch(one)}
    return {text for text in texts if not _NO_NAMES.fullmatch(text)}


def _value(node: ast.AST, module: ModuleType) -> Any:
    """Return the value of a constant, or of a name that the module has; else None."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.Name):
        return getattr(module, node.id, None)
    if isinstance(node, ast.Attribute):
        return getattr(_value(node.value, module), node.attr, None)
    return None


def section(library: str) -> str:
    """Return the part of the page about a library, and about all."""
    parts = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    by_title = {part.partition("\n")[0]: part for part in parts}
    return by_title["All of them"] + by_title[library]


@each
def test_every_option_of_contribs_is_on_the_page(library: str) -> None:
    """An option that a release adds fails here until the page says what becomes of it."""
    text = section(library)
    assert [name for name in sorted(options(library)) if f"`{name}`" not in text] == []


@each
def test_every_variable_of_contribs_is_on_the_page(library: str) -> None:
    """The variables of one instrumentation, and those that all of them read."""
    text = section(library)
    assert [name for name in sorted(variables(library)) if name not in text] == []


@each
def test_every_attribute_and_metric_of_contribs_is_on_the_page(library: str) -> None:
    """Of the stable conventions and of the former ones."""
    text = section(library)
    assert [name for name in sorted(names(library)) if f"`{name}`" not in text] == []


def ours() -> dict[str, Any]:
    """Return everything public of our packages, by its name."""
    modules = [importlib.import_module(name) for name in PACKAGES]
    return {name: getattr(each, name) for each in modules for name in each.__all__}


def test_every_call_of_ours_on_the_page_exists() -> None:
    """`f(a=, b=)` on the page: f is public, and has the options a and b."""
    known = ours()
    wrong = []
    calls = re.findall(r"`([A-Za-z_]\w*)\(([^`]*)\)`", _our_cells())
    assert len(calls) > 30
    for function, given in calls:
        asked = re.findall(r"(\w+)=", given)
        target = known.get(function)
        if target is None or not {*asked} <= {*inspect.signature(target).parameters}:
            wrong.append(f"{function}({given})")
    assert wrong == []


def _our_cells() -> str:
    """Return the right column of all tables."""
    text = PAGE.read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    return "\n".join(re.split(r"(?<!\\)\|", row)[2] for row in rows)


def test_reading_contrib_finds_what_is_known_to_be_there() -> None:
    """The tests above mean something only as long as the reading finds something."""
    assert {"async_request_hook", "meter_provider"} <= options("httpx")
    assert {"filter_", "request_hook", "channel_type"} <= options("grpc")
    assert "exclude_spans" in options("fastapi")
    assert "OTEL_PYTHON_HTTPX_EXCLUDED_URLS" in variables("httpx")
    assert {"http.server.duration", "http.url", "url.full"} <= names("asgi")
    assert {"db.statement", "db.redis.args_length"} <= names("redis")
