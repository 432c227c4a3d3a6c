"""Texts with a format in JSON, for the types of answers: the OpenAPI document names the format."""

from typing import Annotated

from pydantic import WithJsonSchema

Uuid = Annotated[str, WithJsonSchema({"type": "string", "format": "uuid"})]
Timestamp = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
