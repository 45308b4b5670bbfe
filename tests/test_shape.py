"""Every package has the same shape, and nothing reaches where it should not."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.matrix import ROOT, Package, read_packages

PACKAGES = read_packages()
SOURCES = [
    path for package in PACKAGES for path in sorted(package.folder.glob("src/**/*.py"))
]
each_package = pytest.mark.parametrize(
    "package", PACKAGES, ids=lambda package: package.name
)
each_source = pytest.mark.parametrize(
    "path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix()
)


#: obs-core's rooms, from the ground up: a room imports only from those before it in this list.
ROOMS = (
    *(
        "exceptions",
        "_safety",
        "_config",
        "_spans",
        "_integrations",
        "_correlation",
        "_decorators",
    ),
    *("_llm", "_export", "_provider", "_logs", "_metrics", "_setup", "_doctor"),
)
CORE = ROOT / "packages" / "obs-core" / "src" / "obs_core"
each_core_source = pytest.mark.parametrize(
    "path",
    sorted(CORE.rglob("*.py")),
    ids=lambda path: path.relative_to(CORE).as_posix(),
)


#: The files of an integration: the same concept, the same name, in every package that has it.
FILES = frozenset(
    {
        "__init__",
        "_attributes",
        "_contrib",
        "_instrument",
        "_metrics",
        "_options",
        "_otel",
        "_outcome",
    }
    | {"_patches", "_propagation", "_semconv", "_state"}
)
#: In addition, by package: the nouns of its field.
NOUNS = {
    "obs-aws": {"_api_call", "_bedrock", "_dynamodb", "_eventbridge_kinesis", "_lambda"}
    | {"_message", "_messaging", "_processing", "_response_streams", "_scrub"}
    | {"_services"},
    "obs-celery": {
        "_arguments",
        "_attempt",
        "_batches",
        "_beat",
        "_broker",
        "_destination",
        "_eager",
        "_execute",
    }
    | {"_execution", "_message", "_publish", "_relation", "_supervise", "_verdict"},
    "obs-db": {
        "_batches",
        "_call",
        "_caller",
        "_comment",
        "_connection",
        "_events",
        "_lists",
        "_n_plus_one",
        "_repeats",
    }
    | {"_statement", "_tokens"},
    "obs-grpc": {"_aio", "_call", "_channel", "_handlers", "_rpc", "_served_rpc"}
    | {"_sync"},
    "obs-http": {
        "_entry",
        "_environment",
        "_exceptions",
        "_exclusion",
        "_headers",
        "_hooks",
    }
    | {
        "_httpx",
        "_identity",
        "_imports",
        "_legacy_attributes",
        "_lifespan",
        "_middleware",
        "_native",
        "_opening",
    }
    | {"_request", "_requests", "_response_headers", "_route", "_existing_span"}
    | {"_measurement"}
    | {"_tracer", "_types"},
}
#: Test files of a whole package, or of several packages and services together; any other has the name of a source.
ACROSS = {
    "obs-aws": {"celery", "cost", "example"},
    "obs-celery": {"backend", "brokers", "canvas", "cost", "keep", "lifecycle"}
    | {"memory", "peers"},
    "obs-db": {"commands", "cost", "hooks", "redis", "sqlalchemy", "worker"},
    "obs-grpc": {"chain", "cost", "hooks", "keep", "seams"},
    "obs-http": {
        "client_cost",
        "cost",
        "keep",
        "llm_clients",
        "unsampled",
        "ways_in",
        "wire",
    },
}
INTEGRATIONS = [package for package in PACKAGES if package.name in NOUNS]
each_integration = pytest.mark.parametrize(
    "package", INTEGRATIONS, ids=lambda package: package.name
)


def imported(path: Path) -> list[tuple[int, str]]:
    """Return line and full name of each module that a source imports, lazily too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.append((node.lineno, node.module))
    return found


@each_core_source
def test_no_room_imports_from_one_above_it(path: Path) -> None:
    """What is above may change without what is below; public modules at the top import what they need."""
    room = path.relative_to(CORE).parts[0].removesuffix(".py")
    if room not in ROOMS:
        assert not room.startswith("_") or room in {"__init__", "__main__"}, (
            f"{room} is no room"
        )
        return
    above = ROOMS[ROOMS.index(room) + 1 :]
    upward = [
        f"{path.relative_to(CORE)}:{line}: {name}"
        for line, name in imported(path)
        if name.startswith("obs_core.") and name.split(".")[1] in above
    ]
    assert upward == []


@each_integration
def test_names_the_files_of_an_integration_alike(package: Package) -> None:
    """A reader who knows one package finds the same concept in the others."""
    found = {path.stem for path in package.folder.glob("src/**/*.py")}
    assert found - FILES - NOUNS[package.name] == set()


@each_integration
def test_names_its_tests_as_their_sources(package: Package) -> None:
    """Who opens a source knows where its tests are; tests in a folder are those of the sources of this folder."""
    sources = package.folder / "src" / package.import_name
    unknown = []
    for path in package.folder.glob("tests/**/test_*.py"):
        name = path.stem.removeprefix("test_")
        folder = path.parent.relative_to(package.folder / "tests")
        found = list((sources / folder).rglob(f"_{name}.py"))
        if not found and name not in ACROSS[package.name]:
            unknown.append(path.name)
    assert unknown == []


@each_integration
def test_has_no_copy_of_a_shared_part(package: Package) -> None:
    """Five copies of an idea disagree; `obs_core.integration` has each once."""
    found = set()
    for path in package.folder.glob("src/**/*.py"):
        name = path.relative_to(package.folder / "src").as_posix()
        found |= {(name, part) for part in copies(ast.parse(path.read_text()))}
    assert found == set()


def copies(tree: ast.AST) -> Iterator[str]:
    """Yield the parts of obs_core that a source has by itself."""
    for node in ast.walk(tree):
        match node:
            case ast.alias(name=name) | ast.Attribute(attr=name) if name.startswith(
                "_SUPPRESS_"
            ):
                yield "suppression key"
            case ast.Constant(value="OTEL_SEMCONV_STABILITY_OPT_IN"):
                yield "stability variable"
            case ast.Call(func=ast.Name(id="Redactor")):
                yield "redactor"
            case ast.Call(
                func=ast.Name(id="setattr"), args=[ast.Name(id=name), *_]
            ) if name != "self":
                yield "attribute of a foreign object"
            case ast.FunctionDef() if {"set_status", "error.type"} <= words(node):
                yield "error.type beside a status"


def words(tree: ast.AST) -> set[str]:
    """Return the names of attributes and the texts in a piece of source."""
    nodes = list(ast.walk(tree))
    texts = {str(node.value) for node in nodes if isinstance(node, ast.Constant)}
    return texts | {node.attr for node in nodes if isinstance(node, ast.Attribute)}


@each_package
def test_has_the_same_files_in_the_same_places(package: Package) -> None:
    """README, changelog, licence, types marker, tests."""
    expected = [
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
        "tests",
        f"src/{package.import_name}/py.typed",
    ]
    assert [name for name in expected if not (package.folder / name).exists()] == []
    assert len((package.folder / "README.md").read_text().splitlines()) <= 120


@each_package
def test_init_holds_names_only(package: Package) -> None:
    """``__init__`` is imports and a sorted ``__all__`` whose names exist, in at most 50 lines."""
    path = package.folder / "src" / package.import_name / "__init__.py"
    tree = ast.parse(path.read_text())
    assert len(path.read_text().splitlines()) <= 50
    kinds = {type(node) for node in tree.body[1:]}
    assert kinds <= {ast.Import, ast.ImportFrom, ast.Assign}, kinds
    module = importlib.import_module(package.import_name)
    assert list(module.__all__) == sorted(module.__all__)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


@each_package
def test_declares_its_matrix_and_its_entry_points(package: Package) -> None:
    """Pythons come from the classifiers, support claims from ``[tool.obs.matrix]``, versions are static."""
    assert package.pythons == ["3.10", "3.11", "3.12", "3.13"]
    assert set(package.newer_pythons) <= {"3.14", "3.15"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", package.project["version"])
    groups = package.project.get("entry-points", {})
    for entries in groups.values():
        for target in entries.values():
            module, _, name = target.partition(":")
            assert not name or hasattr(importlib.import_module(module), name), target


@each_source
def test_imports_no_sibling_and_no_private_part(path: Path) -> None:
    """A package imports no sibling but obs_core, and of obs_core only what is public."""
    package = path.relative_to(ROOT).parts[3]
    for line, name in imported(path):
        root = name.split(".")[0]
        if root == package or not root.startswith(
            ("obs_", "distributed_observability")
        ):
            continue
        if package == "distributed_observability":
            is_public = not any(part.startswith("_") for part in name.split("."))
        else:
            is_public = name in {
                "obs_core",
                "obs_core.integration",
                "obs_core.exceptions",
            }
        assert is_public, f"{path}:{line}: {name}"


def test_requires_ranges_of_siblings_never_a_pin() -> None:
    """``obs-core>=1.0,<2``: each package is released at its own pace."""
    for package in PACKAGES:
        for line in package.project.get("dependencies", []):
            if line.startswith("obs-"):
                assert re.fullmatch(r"obs-[a-z]+>=\d+\.\d+,<\d+", line), (
                    f"{package.name}: {line}"
                )


def test_the_table_of_where_to_find_what_names_files_that_exist() -> None:
    """Of every package that has a source."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    table = page.partition("## Where to find what")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(\w+/[\w/]+\.py)`", table))
    sources = {path.as_posix().partition("/src/")[2] for path in SOURCES}
    assert named - sources == set()
    assert {name.partition("/")[0] for name in named} == {
        package.import_name
        for package in PACKAGES
        if package.name != "distributed-observability-tools"
    }
