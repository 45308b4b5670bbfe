"""The page of all attributes names every attribute that a package writes."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "semantic-conventions.md").read_text(encoding="utf-8")
_NAME = re.compile(
    r"(aws|celery|cloud|code|db|error|faas|gen_ai|http|messaging|net|network|obs|rpc|server|tenant|url|user)(\.[a-z_]+)+"
)
# written like attributes, but the names of other things: services, modules, Celery's own tasks, ASGI's messages
_OTHER = re.compile(
    r"aws\.(bedrock|dynamodb|sns)|celery\.(accumulate|backend_cleanup|chord_unlock|chunks|map|starmap|app.*|contrib.*|signals|worker.*)"
    r"|http\.(disconnect|request|response\.(body|debug|pathsend|start|trailers))"
)


def written() -> set[str]:
    """Every string of the sources that has an attribute's form."""
    files = [
        file
        for package in ("core", "celery", "db", "aws", "grpc", "http")
        for file in ROOT.glob(f"packages/obs-{package}/src/**/*.py")
    ]
    nodes = (
        node
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    )
    strings = {
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return {
        text for text in strings if _NAME.fullmatch(text) and not _OTHER.fullmatch(text)
    }


def is_listed(name: str) -> bool:
    """Whether it stands there, itself or as one of ``prefix.*`` or ``prefix.<name>``."""
    listed = re.findall("`([^`]+)`", PAGE)
    prefixes = tuple(
        re.split("[*<]", text)[0] for text in listed if text.endswith(("*", ">"))
    )
    return name in listed or name.startswith(
        tuple(prefix for prefix in prefixes if "." in prefix)
    )


def test_every_attribute_is_listed() -> None:
    """A new one needs a line."""
    names = written()
    assert len(names) > 100
    assert sorted(name for name in names if not is_listed(name)) == []
