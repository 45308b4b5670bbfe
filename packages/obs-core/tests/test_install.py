"""What messages say to install works: from an index, a clone or a repository, whichever obs-core came from."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest
from obs_core._integrations.install import libraries_command
from obs_core.exceptions import MissingDependencyError
from obs_core.integration import install_command, require


@pytest.fixture
def came_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Make obs-core's metadata say what an installer writes for that origin."""

    def install(origin: object) -> None:
        folder = tmp_path / "obs_core-1.0.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Name: obs-core\nVersion: 1.0.0\n")
        if origin is not None:
            (folder / "direct_url.json").write_text(json.dumps(origin))
        monkeypatch.syspath_prepend(tmp_path)

    return install


@pytest.mark.promise("CORE-121")
def test_from_a_clone_the_command_names_folders_that_are_there() -> None:
    """This is one: our packages are installed from it, and other requirements are as they are."""
    command = install_command("obs-db[instruments]>=1.0,<2", "celery>=5.3")
    pip, install, ours, other = shlex.split(command)
    assert (pip, install, other) == ("pip", "install", "celery>=5.3")
    folder, _, extra = ours.partition("[")
    assert (Path(folder) / "pyproject.toml").is_file()
    assert (Path(folder).name, extra) == ("obs-db", "instruments]")


@pytest.mark.parametrize(
    "origin", [None, {"url": "file:///gone/obs-core", "dir_info": {}}]
)
def test_from_an_index_or_a_folder_that_is_gone_it_names_the_package(
    came_from, origin
) -> None:
    """A wheel's own folder or an image's build stage leads nowhere."""
    came_from(origin)
    assert install_command("obs-http") == "pip install 'obs-http'"


def test_from_a_repository_it_names_the_address(came_from) -> None:
    """With the revision that obs-core was installed at."""
    source = {"vcs": "git", "requested_revision": "main", "commit_id": "1234567"}
    came_from(
        {
            "url": "https://example.com/obs.git",
            "vcs_info": source,
            "subdirectory": "packages/obs-core",
        }
    )
    assert install_command("obs-db[instruments]", "redis>=5") == (
        "pip install 'obs-db[instruments] @ git+https://example.com/obs.git@main"
        "#subdirectory=packages/obs-db' 'redis>=5'"
    )


def test_metadata_that_is_damaged_is_no_other_error(came_from) -> None:
    """The message is about what is missing, whatever else is wrong."""
    came_from("neither a clone")
    assert install_command("obs-http") == "pip install 'obs-http'"


def test_a_missing_library_is_named_in_the_range_that_the_package_declares() -> None:
    """By its own name where it is imported by another."""
    pytest.importorskip("obs_celery")
    pytest.importorskip("obs_grpc")
    assert libraries_command("obs-celery", "celery") == "pip install 'celery<6,>=5.3'"
    assert libraries_command("obs-grpc", "grpc").startswith("pip install 'grpcio<2,>=")
    assert (
        libraries_command("obs-nowhere", "no")
        == "pip install 'obs-nowhere[instruments]'"
    )


def test_requiring_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error has the command."""
    pytest.importorskip("obs_celery")
    monkeypatch.delitem(sys.modules, "celery", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'celery<6,>=5.3'"):
        require("celery", package="obs-celery")
