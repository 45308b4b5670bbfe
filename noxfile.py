"""Every check of the project, the same on a laptop and in CI: ``nox -l`` lists them."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

import nox

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT))

from scripts import installs  # noqa: E402 - nox runs this file from anywhere
from scripts.cells import recorded, run_cells  # noqa: E402 - nox runs this file from anywhere
from scripts.matrix import (  # noqa: E402
    Cell,
    Package,
    cells,
    in_turn,
    lowest_cell,
    newer_cells,
    pairwise,
    read_packages,
)
from scripts.matrix_page import read as read_page  # noqa: E402
from scripts.release import bump, check_release  # noqa: E402

nox.needs_version = ">=2024.10"
nox.options.default_venv_backend = "uv"
nox.options.sessions = ["lint", "typing", "tests"]

PACKAGES = read_packages()


def install(session: nox.Session, packages: list[Package], *groups: str) -> None:
    """Install `packages` as editable with their test dependencies, and the root's dependency `groups`."""
    arguments = [
        argument for package in packages for argument in ("-e", str(package.folder))
    ]
    files = [package.folder / "pyproject.toml" for package in packages]
    arguments += [
        argument for file in files for argument in ("--group", f"{file}:test")
    ]
    arguments += [argument for group in groups for argument in ("--group", group)]
    session.log("installing %s …", ", ".join(package.name for package in packages))
    session.install(*arguments)


@nox.session
def tests(session: nox.Session) -> None:
    """Run every package's tests and those across packages, two files at a time, on the Python that runs nox."""
    install(session, PACKAGES, "test", "demo", "sdks")
    session.run("pytest", "-n", "2", "--dist", "loadfile", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """Run the example services on embedded parts and show each request as one trace (``-- --keep`` leaves them running)."""
    install(session, PACKAGES, "demo")
    # the receiver's gRPC server would remark on every process that the demo starts
    # and it needs longer than nox's half second to stop what it started
    command = ("python", "examples/services/demo.py", *session.posargs)
    session.run(
        *command,
        env={"GRPC_VERBOSITY": "ERROR"},
        interrupt_timeout=60,
        terminate_timeout=10,
    )


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
    session.run(
        "pytest",
        "-q",
        "packages/obs-core/tests/test_trace_function.py",
        "-k",
        "static_types",
    )
    for package in PACKAGES:
        session.run(
            "pyright",
            "--verifytypes",
            package.import_name,
            "--ignoreexternal",
            silent=True,
        )


@nox.session
def build(session: nox.Session) -> None:
    """Rehearse each package's release: check its version, build it, type-check a consumer of its wheel (``-- obs-db``)."""
    wheels = _build_wheels(session, PACKAGES)
    session.install("mypy")
    for package in _chosen(session):
        check_release(package)
        _type_check_consumer(session, package, wheels)


@nox.session
def minimal(session: nox.Session) -> None:
    """Use each package's wheel alone, with nothing optional, where the repository cannot be seen (``-- obs-db``)."""
    wheels = _build_wheels(session, PACKAGES)
    for package in _chosen(session):
        home = wheels.parent / f"only-{package.name}"
        python = _fresh_environment(
            session, home, "--find-links", str(wheels), package.name
        )
        with session.chdir(home):
            alone = str(ROOT / "scripts" / "alone.py")
            session.run(
                python,
                "-W",
                "error",
                alone,
                package.name,
                package.import_name,
                external=True,
            )


def _build_wheels(session: nox.Session, packages: list[Package]) -> Path:
    session.install("build", "hatchling")
    wheels = Path(session.create_tmp()).resolve() / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    for package in packages:
        session.log("building %s %s", package.name, package.project["version"])
        session.run(
            "python",
            "-m",
            "build",
            "--no-isolation",
            "--outdir",
            str(wheels),
            str(package.folder),
            silent=True,
        )
    return wheels


def _type_check_consumer(session: nox.Session, package: Package, wheels: Path) -> None:
    home = wheels.parent / f"consumer-{package.name}"
    python = _fresh_environment(
        session, home, "--find-links", str(wheels), package.name
    )
    consumer = home / "consumer.py"
    consumer.write_text(
        f"import {package.import_name} as package\n\nnames: list[str] = package.__all__\n",
        encoding="utf-8",
    )
    with session.chdir(home):
        session.run(
            "mypy",
            "--strict",
            "--python-executable",
            python,
            str(consumer),
            silent=True,
        )


def _fresh_environment(session: nox.Session, home: Path, *requirements: str) -> str:
    shutil.rmtree(home, ignore_errors=True)
    session.run(
        "uv",
        "venv",
        "--quiet",
        "--python",
        str(session.python or sys.executable),
        str(home),
        external=True,
    )
    python = str(home / "bin" / "python")
    session.run(
        "uv",
        "pip",
        "install",
        "--quiet",
        "--python",
        python,
        *requirements,
        external=True,
    )
    return python


@nox.session
def rehearsal(session: nox.Session) -> None:
    """Try every install line of the documents, from the clone and from an index; trace services that pin old and new together.

    The index is a local one, into which three packages are released at versions of their own.
    """
    _install_lines(session)
    home = Path(session.create_tmp()).resolve() / "releases"
    shutil.rmtree(home, ignore_errors=True)
    released = {"obs-core": "1.9.0", "obs-celery": "1.2.0", "obs-db": "1.4.3"}
    bumped = [
        bump(package, released[package.name], home)
        for package in PACKAGES
        if package.name in released
    ]
    for package in bumped:
        check_release(package)
    wheels = _build_wheels(
        session,
        [*(package for package in PACKAGES if package.name in released), *bumped],
    )
    mixed = {
        "new-core": ("1.9.0", "1.0.0", "1.4.3"),
        "old-core": ("1.0.0", "1.2.0", "1.0.0"),
    }
    new, old = (
        _mixed_environment(session, home / name, wheels, *pins)
        for name, pins in mixed.items()
    )
    for python, other in ((new, old), (old, new)):
        command = (python, "-m", "pytest", "-q", "-s", "tests/mixed_versions.py")
        session.run(*command, env={"OTHER_PYTHON": other}, external=True)


def _install_lines(session: nox.Session) -> None:
    """Let pip resolve each page's lines in a fresh environment: as they stand, in the clone; as they will, with an index."""
    wheels = _build_wheels(session, PACKAGES)
    index = {"PIP_EXTRA_INDEX_URL": installs.write_index(wheels)}
    clone = {"OBS": str(ROOT / "packages")}
    python = _fresh_environment(session, wheels.parent / "reader", "pip")
    for page in installs.files(*installs.PAGES):
        lines = " ".join(installs.commands(page.read_text(encoding="utf-8")))
        if not lines:
            continue
        # with an index, nothing of the clone is in reach
        for words, where, folder in (
            (lines, clone, ROOT),
            (installs.on_an_index(lines), index, wheels.parent),
        ):
            pip = f"{python} -m pip install --quiet --dry-run {words}"
            with session.chdir(folder):
                session.run("bash", "-c", pip, env=where, external=True)


def _mixed_environment(
    session: nox.Session, home: Path, wheels: Path, core: str, celery: str, db: str
) -> str:
    session.log(
        "%s: obs-core %s, obs-celery %s, obs-db %s", home.name, core, celery, db
    )
    requirements = [
        f"obs-core=={core}",
        f"obs-celery[instruments]=={celery}",
        f"obs-db[instruments]=={db}",
    ]
    extra = [
        "--find-links",
        str(wheels),
        "--group",
        f"{ROOT}/pyproject.toml:test",
        "celery[redis]",
    ]
    return _fresh_environment(session, home, *requirements, *extra)


@nox.session(venv_backend="none")
def matrix(session: nox.Session) -> None:
    """Run each package's suite in every cell of its matrix, but for the tests whose subject no version changes (marked soak).

    ``-- --sample``: a pairwise cover, each version first; ``-- --minutes=22``: begin no cell after that; ``-- obs-db``: of that
    package; ``-- --jobs=4``: four at a time, default two a processor; ``-- --resume``: what has not passed in the runs before;
    ``-- --last-failed``: what failed in them; ``-- --missing``: what docs/matrix.md has no result of.
    """
    choose = pairwise if "--sample" in session.posargs else None
    chosen = in_turn(cells(package, choose) for package in _chosen(session))
    known = read_page() if "--missing" in session.posargs else {}
    _run_cells(session, [cell for cell in chosen if str(cell) not in known])


@nox.session(venv_backend="none")
def lowest(session: nox.Session) -> None:
    """Run each suite on the oldest Python with the lowest direct dependencies that the package declares."""
    _run_cells(session, [lowest_cell(package) for package in _chosen(session)])


@nox.session(venv_backend="none")
def newer(session: nox.Session) -> None:
    """Run each suite with the newest of everything on the Pythons that are newer than the matrix (``-- obs-db``)."""
    _run_cells(
        session,
        [cell for package in _chosen(session) for cell in newer_cells(package)],
    )


def _chosen(session: nox.Session) -> list[Package]:
    names = [argument for argument in session.posargs if not argument.startswith("-")]
    return [package for package in PACKAGES if not names or package.name in names]


def _run_cells(session: nox.Session, chosen: list[Cell]) -> None:
    if "--last-failed" in session.posargs:
        bad = {result.cell for result in recorded() if not result.good}
        if not bad:
            session.error(
                "no cell has failed: whatever went wrong before was something else"
            )
        chosen = [cell for cell in chosen if str(cell) in bad]
    limits = dict(
        argument[2:].split("=") for argument in session.posargs if "=" in argument
    )
    jobs, minutes = (
        int(limits.get("jobs", 2 * (os.cpu_count() or 1))),
        float(limits.get("minutes", "inf")),
    )
    results = run_cells(
        chosen, jobs=jobs, resume="--resume" in session.posargs, minutes=minutes
    )
    failed = [result for result in results if not result.good]
    for result in failed:
        session.log("%s", result)
    session.log(
        "%d of %d cells passed or are unsupported with a reason",
        len(results) - len(failed),
        len(chosen),
    )
    if len(results) < len(chosen):
        session.warn(
            "%d cells were not begun within %g minutes",
            len(chosen) - len(results),
            minutes,
        )
    if failed:
        session.error(f"{len(failed)} cells failed")


@nox.session
def faults(session: nox.Session) -> None:
    """Let each fault begin and end under live traffic, and account for every span (``-- --rates 300``, ``-- redirect``)."""
    install(session, PACKAGES, "test")
    session.run("python", "-m", "tests.faults", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Let the demo's services run under load while the collector fails at random (``-- --minutes=30 --seed=20``)."""
    install(session, PACKAGES, "test", "demo")
    session.run("python", "benchmarks/soak.py", *session.posargs, interrupt_timeout=60)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Try new inputs on all that reads what comes from outside, until ``-- --minutes=10`` (default 1) are over."""
    install(session, PACKAGES, "test")
    options = dict(argument[2:].split("=") for argument in session.posargs)
    ends = time.monotonic() + 60 * float(options.get("minutes", 1))
    while time.monotonic() < ends:
        command = ("pytest", "-q", "--timeout=600", "tests/test_fuzz.py")
        session.run(*command, env={"FUZZ_EXAMPLES": "2000"})


@nox.session
def bench(session: nox.Session) -> None:
    """Measure beside the peers and write docs/benchmarks.md (``-- export`` measures only that again)."""
    install(session, PACKAGES, "test", "demo", "bench")
    session.run("python", "-m", "scripts.benchmarks", *session.posargs)
