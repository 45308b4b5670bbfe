"""Every check of the project, the same on a laptop and in CI: ``nox -l`` lists them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import nox

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT))

from scripts.matrix import Cell, Package, cells, read_packages  # noqa: E402 - nox runs this file from anywhere
from scripts.release import bump, check_release  # noqa: E402

nox.needs_version = ">=2024.10"
nox.options.default_venv_backend = "uv"
nox.options.sessions = ["lint", "typing", "tests"]

PACKAGES = read_packages()
CORE = next(package for package in PACKAGES if package.name == "obs-core")


def install(session: nox.Session, packages: list[Package], *groups: str) -> None:
    """Install `packages` as editable with their test dependencies, and the root's dependency `groups`."""
    arguments = [argument for package in packages for argument in ("-e", str(package.folder))]
    files = [package.folder / "pyproject.toml" for package in packages]
    arguments += [argument for file in files for argument in ("--group", f"{file}:test")]
    arguments += [argument for group in groups for argument in ("--group", group)]
    session.log("installing %s …", ", ".join(package.name for package in packages))
    session.install(*arguments)


@nox.session
def tests(session: nox.Session) -> None:
    """Run every package's tests and those across packages, on the Python that runs nox."""
    install(session, PACKAGES, "test", "demo")
    session.run("pytest", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """Run the example services on embedded parts and show each request as one trace (``-- --keep`` leaves them running)."""
    install(session, PACKAGES, "demo")
    # the receiver's gRPC server would remark on every process that the demo starts
    session.run("python", "examples/services/demo.py", *session.posargs, env={"GRPC_VERBOSITY": "ERROR"})


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting and the changelogs."""
    session.install("--group", "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    for check in ("changelog", "compatibility", "guarantees"):
        session.run("python", "-m", f"scripts.{check}")


@nox.session
def typing(session: nox.Session) -> None:
    """Check types: mypy strict on all sources, pyright on the public API."""
    install(session, PACKAGES, "test", "typing")
    for package in PACKAGES:
        session.run("mypy", str(package.folder / "src"))
    session.run("mypy", "noxfile.py", "scripts")
    session.run("pytest", "-q", "packages/obs-core/tests/test_decorator.py", "-k", "static_types")
    for package in PACKAGES:
        session.run("pyright", "--verifytypes", package.import_name, "--ignoreexternal", silent=True)


@nox.session
def build(session: nox.Session) -> None:
    """Build every package; install each wheel alone, elsewhere, and use it (``-- obs-celery`` takes just that one)."""
    wheels = _build_wheels(session, PACKAGES)
    for package in PACKAGES:
        if not session.posargs or package.name in session.posargs:
            _use_alone(session, package, wheels)


def _build_wheels(session: nox.Session, packages: list[Package]) -> Path:
    session.install("build", "hatchling")
    wheels = Path(session.create_tmp()).resolve() / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    for package in packages:
        session.log("building %s %s", package.name, package.project["version"])
        session.run("python", "-m", "build", "--no-isolation", "--outdir", str(wheels), str(package.folder), silent=True)
    return wheels


def _use_alone(session: nox.Session, package: Package, wheels: Path) -> None:
    """Use the built wheel in a fresh environment with nothing optional, where the repository cannot be seen."""
    home = wheels.parent / f"only-{package.name}"
    shutil.rmtree(home, ignore_errors=True)
    python = _fresh_environment(session, home, "--find-links", str(wheels), package.name)
    with session.chdir(home):
        session.run(python, "-W", "error", str(ROOT / "scripts" / "alone.py"), package.name, package.import_name, external=True)


def _fresh_environment(session: nox.Session, home: Path, *requirements: str) -> str:
    session.run("uv", "venv", "--quiet", "--python", str(session.python or sys.executable), str(home), external=True)
    python = str(home / "bin" / "python")
    session.run("uv", "pip", "install", "--quiet", "--python", python, *requirements, external=True)
    return python


@nox.session
def rehearsal(session: nox.Session) -> None:
    """Release three packages at versions of their own into a local index; run a service that pins old and new together."""
    home = Path(session.create_tmp()).resolve() / "releases"
    shutil.rmtree(home, ignore_errors=True)
    released = {"obs-core": "1.9.0", "obs-celery": "1.2.0", "obs-db": "1.4.3"}
    bumped = [bump(package, released[package.name], home) for package in PACKAGES if package.name in released]
    for package in bumped:
        check_release(package)
    wheels = _build_wheels(session, [*(package for package in PACKAGES if package.name in released), *bumped])
    for name, pins in {"new-core": ("1.9.0", "1.0.0", "1.4.3"), "old-core": ("1.0.0", "1.2.0", "1.0.0")}.items():
        core, celery, db = pins
        requirements = [f"obs-core=={core}", f"obs-celery[instruments]=={celery}", f"obs-db[instruments]=={db}"]
        extra = ["--find-links", str(wheels), "--group", f"{ROOT}/pyproject.toml:test", "celery[redis]"]
        python = _fresh_environment(session, home / name, *requirements, *extra)
        session.log("%s: obs-core %s, obs-celery %s, obs-db %s", name, *pins)
        session.run(python, "-m", "pytest", "-q", "tests/mixed_versions.py", external=True)


@nox.session
def matrix(session: nox.Session) -> None:
    """Run each package's suite in every cell of its matrix (``-- --sample``: a pairwise cover; ``-- obs-db``: that package)."""
    sample = "--sample" in session.posargs
    names = [argument for argument in session.posargs if not argument.startswith("-")]
    chosen = [cell for package in PACKAGES if not names or package.name in names for cell in cells(package, sample=sample)]
    results = {str(cell): _run_cell(session, cell) for cell in chosen}
    for name, result in results.items():
        session.log("%-11s %s", result, name)
    failed = [name for name, result in results.items() if not result.startswith(("passed", "unsupported"))]
    if failed:
        session.error(f"{len(failed)} of {len(results)} cells failed: {'; '.join(failed)}")


def _run_cell(session: nox.Session, cell: Cell) -> str:
    if cell.unsupported:
        return f"unsupported: {cell.unsupported}"
    home = Path(session.create_tmp()) / "cell"
    shutil.rmtree(home, ignore_errors=True)
    session.log("cell: %s", cell)
    folders = dict.fromkeys((CORE.folder, cell.package.folder))
    editables = [argument for folder in folders for argument in ("-e", str(folder))]
    groups = ["--group", "test", "--group", f"{cell.package.folder}/pyproject.toml:test"]
    steps = {
        "no such Python": ["uv", "venv", "--quiet", "--python", cell.python, str(home)],
        "does not resolve": [
            *("uv", "pip", "install", "--quiet", "--python", f"{home}/bin/python"),
            *editables,
            *groups,
            *cell.requirements,
        ],
        "failed": [f"{home}/bin/python", "-m", "pytest", "-q", "-x", "--no-header", str(cell.package.folder)],
    }
    for outcome, command in steps.items():
        if subprocess.run(command, cwd=ROOT).returncode:
            return outcome
    return "passed"


@nox.session
def lowest(session: nox.Session) -> None:
    """Run the suites with the lowest direct dependencies that the packages declare."""
    for package in PACKAGES:
        arguments = ["-e", str(CORE.folder), "-e", str(package.folder), "--group", f"{package.folder / 'pyproject.toml'}:test"]
        session.install("--resolution", "lowest-direct", *arguments, "--group", "test")
        session.run("pytest", "-q", str(package.folder))


@nox.session
def bench(session: nox.Session) -> None:
    """Measure beside the peers and write docs/benchmarks.md (``-- db grpc`` measures only those and prints them)."""
    install(session, PACKAGES, "test", "demo", "bench")
    session.run("python", "-m", "scripts.benchmarks", *session.posargs)
