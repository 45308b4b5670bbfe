"""SQLAlchemy's own batches: the rows of a batch, and loaders in batches, which are no N+1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.util.types import AttributeValue


def batch_attributes(context: Any, parameters: Any) -> dict[str, AttributeValue]:
    """Return the number of rows sent in a batch, if more than 1."""
    if not parameters:
        return {}
    size = _batch_size(context, parameters)
    return {"db.operation.batch.size": size} if size > 1 else {}


def _batch_size(context: Any, parameters: Any) -> int:
    style = getattr(context, "execute_style", None)  # SQLAlchemy 1.4 has none
    if getattr(style, "name", None) != "INSERTMANYVALUES":
        return len(parameters)
    shared, of_a_row = _parameters_of_a_row(context, parameters)
    if of_a_row == 0:
        return 1
    return (len(parameters) - shared) // of_a_row


def _parameters_of_a_row(context: Any, parameters: Any) -> tuple[int, int]:
    """Return the number of parameters that all rows share, and the number that each row has."""
    row = context.parameters[0]
    if isinstance(parameters, Mapping):
        shared = len(row.keys() & parameters.keys())
    else:
        shared = (
            len(row) - context.compiled._insertmanyvalues.num_positional_params_counted
        )
    return shared, len(row) - shared


def is_loader_batch(context: Any) -> bool:
    """Whether ``selectinload`` or ``selectin_polymorphic`` sent this, for up to 500 objects.

    The parameter's name is SQLAlchemy's, in 1.4, 2.0 and 2.1; nothing else in an engine event
    tells these loaders.
    """
    compiled = context.compiled
    is_orm = type(getattr(compiled, "compile_state", None)).__module__.startswith(
        "sqlalchemy.orm"
    )
    return is_orm and "primary_keys" in compiled.binds
