"""Attributes of a client, a call's parameters and AWS's response."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.util.types import AttributeValue

from obs_aws._scrub import scrub

Attributes = dict[str, AttributeValue]
Params = Mapping[str, Any]

_DEFAULT_PORTS = {"http": 80}


def client_attributes(meta: Any) -> Attributes:
    """Return the attributes that all calls of a client have; `meta` is the client's ``meta``."""
    endpoint = urlsplit(meta.endpoint_url)
    attributes = {
        "rpc.system": "aws-api",
        "rpc.service": str(meta.service_model.service_id),
        "cloud.region": meta.region_name,
        "server.address": endpoint.hostname,
        "server.port": endpoint.port or _DEFAULT_PORTS.get(endpoint.scheme, 443),
    }
    return {name: value for name, value in attributes.items() if value is not None}


def text_attributes(params: Params, names: Mapping[str, str]) -> Attributes:
    """Return the parameters in `names` that are text, scrubbed, under the attribute of each."""
    attributes: Attributes = {}
    for parameter, attribute in names.items():
        value = params.get(parameter)
        if isinstance(value, str):
            attributes[attribute] = scrub(value)
    return attributes


def destination_name(address: object) -> str | None:
    """Return the name of a queue or topic, given as name, URL or ARN."""
    if not isinstance(address, str):
        return None
    path = address.partition("?")[0].rstrip("/")
    return scrub(path.rpartition("/")[2].rpartition(":")[2]) or None


def response_attributes(response: Mapping[str, Any]) -> Attributes:
    """Return the HTTP status and request ids of a response, successful or failed."""
    metadata = response.get("ResponseMetadata") or {}
    attributes = {
        "http.response.status_code": metadata.get("HTTPStatusCode"),
        "aws.request_id": metadata.get("RequestId"),
        "aws.extended_request_id": metadata.get("HostId"),
    }
    return {name: value for name, value in attributes.items() if value}
