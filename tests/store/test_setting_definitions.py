"""The table of system settings: each is complete, its default is valid, and docs/settings.md lists it."""

from pathlib import Path
from typing import Any

import pytest

from netstacks.settings import Settings
from netstacks.store.setting_definitions import RECORDING_DAYS, SECTIONS, SESSIONS_PER_USER, SETTINGS
from netstacks.store.setting_types import Feature, Setting, as_json

DOCS = Path(__file__).parents[2] / "docs" / "settings.md"


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_a_default_is_a_valid_value_and_survives_json(setting: Setting[Any]) -> None:
    if setting.type != "secret":
        assert setting.read(as_json(setting.default)) == setting.default
    assert setting.description.endswith(".")


def test_keys_are_unique_and_variables_exist_with_the_same_default() -> None:
    assert len(SETTINGS) == sum(len(section) for section in SECTIONS.values())
    for setting in (SESSIONS_PER_USER, RECORDING_DAYS):
        assert setting.variable is not None
        assert Settings.model_fields[setting.variable.lower()].default == setting.default


def test_the_documentation_lists_every_setting_as_it_is() -> None:
    text = DOCS.read_text()
    for line in documented():
        assert line in text, f"docs/settings.md lacks:\n{line}"
    assert text.count("\n| **") == len(SETTINGS)


def documented() -> list[str]:
    """The lines of the documentation: a table for each section."""
    lines = []
    for section, settings in SECTIONS.items():
        lines += [f"### {section}"]
        lines += [f"| **{each.title}** (`{each.key}`) | {_default(each)} | {_meaning(each)} |" for each in settings]
    return lines


def _default(setting: Setting[Any]) -> str:
    match setting.default:
        case Feature(enabled=is_on):
            return "on" if is_on else "off"
        case bool(is_on):
            return "on" if is_on else "off"
        case int(number):
            return f"{number} {setting.form['unit']}".strip()
        case text:
            return str(text)


def _meaning(setting: Setting[Any]) -> str:
    meaning = setting.description
    if setting.type == "number":
        meaning += f" {setting.form['least']} to {setting.form['most']}."
    if setting.type == "choice":
        meaning += f" One of {', '.join(f'`{value}`' for value in setting.form['options'])}."
    if setting.variable:
        meaning += f" The environment variable `{setting.variable}` wins."
    return meaning
