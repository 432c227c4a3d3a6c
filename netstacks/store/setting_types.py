"""The types of system settings: each reads a value from JSON, and describes itself for a form."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictInt, TypeAdapter, ValidationError

from netstacks.errors import InvalidInput

T = TypeVar("T")

_MAX_ROLES = 100


@dataclass(frozen=True)
class Feature:
    """Whether a feature is on, and the roles for which it is off nevertheless."""

    enabled: bool = True
    disabled_roles: list[str] = field(default_factory=list)

    def may_use(self, role: str) -> bool:
        """Whether the feature is on for users of `role`."""
        return self.enabled and role not in self.disabled_roles


class _FeatureInput(BaseModel):
    model_config = ConfigDict(extra="ignore")

    enabled: StrictBool = True
    disabled_roles: list[Annotated[str, Field(min_length=1, max_length=64)]] = Field([], max_length=_MAX_ROLES)


@dataclass(frozen=True)
class Setting(Generic[T]):
    """A system setting. `form` is what a page needs to ask for a value; `variable` wins when the environment has it."""

    key: str
    title: str
    description: str
    type: str
    default: T
    reads: TypeAdapter[Any]
    form: Mapping[str, Any] = field(default_factory=dict)
    variable: str | None = None
    unreadable: T | None = None
    """What applies when the stored value cannot be read; None stands for the default."""
    also_needs: str | None = None
    """The permission that a change needs beside `settings.manage`."""

    def read(self, value: Any) -> T:
        """The value in JSON as one of this type. Raises InvalidInput with what is valid."""
        try:
            found = self.reads.validate_python(value)
        except ValidationError as error:
            # Not chained: the cause contains the value.
            raise InvalidInput(f"value: {_sentence(error)}") from None
        if isinstance(found, _FeatureInput):
            found = Feature(found.enabled, sorted(set(found.disabled_roles)))
        result: T = found
        return result

    def instead(self) -> T:
        """What applies instead of an unreadable value."""
        return self.default if self.unreadable is None else self.unreadable


def as_json(value: Any) -> Any:
    """A value of any type in JSON."""
    return asdict(value) if isinstance(value, Feature) else value


def feature(
    key: str, title: str, description: str, *, is_on: bool = True, unreadable_is_on: bool = False
) -> Setting[Feature]:
    """A feature that is on or off, and off for some roles."""
    adapter: TypeAdapter[Any] = TypeAdapter(_FeatureInput)
    return Setting(key, title, description, "feature", Feature(is_on), adapter, unreadable=Feature(unreadable_is_on))


def number(
    key: str,
    title: str,
    description: str,
    default: int,
    *,
    least: int = 0,
    most: int,
    unit: str = "",
    zero: str = "",
    variable: str | None = None,
    also_needs: str | None = None,
) -> Setting[int]:
    """A whole number within bounds; `zero` says what 0 means."""
    adapter: TypeAdapter[Any] = TypeAdapter(Annotated[StrictInt, Field(ge=least, le=most)])
    form = {"least": least, "most": most, "unit": unit, "zero": zero}
    return Setting(key, title, description, "number", default, adapter, form, variable, also_needs=also_needs)


def text(
    key: str, title: str, description: str, *, most: int, has_lines: bool = False, default: str = ""
) -> Setting[str]:
    """A text of at most `most` characters; of one line unless it `has_lines`."""
    check = AfterValidator(_lines if has_lines else _line)
    adapter: TypeAdapter[Any] = TypeAdapter(Annotated[str, Field(max_length=most), check])
    return Setting(key, title, description, "text", default, adapter, {"most": most, "has_lines": has_lines})


def choice(key: str, title: str, description: str, default: str, options: Mapping[str, str]) -> Setting[str]:
    """One of `options`: their values, each with its meaning."""
    names = " or ".join(options)

    def one(value: str) -> str:
        if value not in options:
            raise ValueError(f"must be {names}")
        return value

    adapter: TypeAdapter[Any] = TypeAdapter(Annotated[str, AfterValidator(one)])
    return Setting(key, title, description, "choice", default, adapter, {"options": dict(options)})


def switch(key: str, title: str, description: str, *, default: bool) -> Setting[bool]:
    """On or off."""
    return Setting(key, title, description, "switch", default, TypeAdapter(StrictBool))


def secret(key: str, title: str, description: str) -> Setting[str]:
    """A text that the vault holds: the API never returns it. The value says whether it is set."""
    adapter: TypeAdapter[Any] = TypeAdapter(Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_line)])
    return Setting(key, title, description, "secret", "", adapter)


def checked(setting: Setting[str], check: Any) -> Setting[str]:
    """The same setting, whose values `check` must accept: it returns the form to store, or raises ValueError."""
    inner = setting.reads

    def both(value: Any) -> str:
        return str(check(inner.validate_python(value)))

    adapter: TypeAdapter[Any] = TypeAdapter(Annotated[str, AfterValidator(both)])
    return Setting(
        setting.key, setting.title, setting.description, setting.type, setting.default, adapter, setting.form
    )


def _line(value: str) -> str:
    if any(unicodedata.category(each) in ("Cc", "Zl", "Zp") for each in value):
        raise ValueError("must be one line without control characters")
    return value.strip()


def _lines(value: str) -> str:
    value = value.replace("\r\n", "\n").replace("\r", "\n")
    if any(unicodedata.category(each) == "Cc" and each not in "\n\t" for each in value):
        raise ValueError("must be plain text without control characters")
    return value.strip()


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    for theirs in ("Input should", "String should", "List should"):
        message = message.replace(theirs, "must")
    return f"{where} {message}" if where else message


def by_key(settings: Sequence[Setting[Any]]) -> dict[str, Setting[Any]]:
    return {each.key: each for each in settings}
