"""Mask credentials in names, URLs and messages before export."""

from __future__ import annotations

import re
from functools import lru_cache

from obs_core.integration import REDACTED, truncate

MAX_VALUE_BYTES = 1024

_SECRET = re.compile(
    r"(?<=://)[^/@\s]+(?=@)"
    r"|(?<=\?)[^\s\"'<>]+"
    r"|(?<![A-Za-z0-9])(?:AKIA|ASIA|AGPA|AIDA|AROA|AIPA|ANPA|ANVA)[A-Z0-9]{12,}"
    r"|(?i:(?<=credential=)|(?<=signature=)|(?<=security-token=)|(?<=securitytoken=)|(?<=accesskeyid=)"
    r"|(?<=secret_access_key=)|(?<=session_token=)|(?<=sessiontoken=)|(?<=secretaccesskey=))[^\s&\"',;<>]+"
)


def mask(text: str) -> str:
    """Return `text` without URL queries, URL passwords, access key ids, signatures and tokens.

    A query is masked completely: the rest of a presigned URL gives no access. Thread-safe.
    """
    return _SECRET.sub(REDACTED, text)


@lru_cache(maxsize=1024)
def scrub(text: str) -> str:
    """Return `text` masked and cut to 1 KiB; cached for the 1,024 latest texts."""
    return truncate(mask(text), MAX_VALUE_BYTES)
