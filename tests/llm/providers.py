"""Entries of providers, as tests need them."""

from dataclasses import replace
from typing import Any
from uuid import uuid4

from netstacks.llm.provider import Provider

KEY = "sk-Zk3vQxW-0123456789"


def provider(**members: Any) -> Provider:
    """An entry of type `anthropic` with short times, except for `members`."""
    entry = Provider(
        id=uuid4(),
        revision=1,
        name="Scripted",
        type="anthropic",
        base_url="http://127.0.0.1:1",
        models=("scripted-1",),
        key=KEY,
        position=0,
        enabled=True,
        connect_secs=10,
        first_token_secs=10,
        total_secs=20,
        max_concurrent=0,
        daily_tokens=0,
    )
    return replace(entry, **members)
