"""The file of a first start: read strictly, one line for each problem, and no key in any of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from netstacks.errors import InvalidInput
from netstacks.llm import provider_file

CLAUDE = {"name": "claude", "type": "anthropic", "models": ["m1", "m2"]}
SECRET = "sk-hunter2"


def read(folder: Path, content: Any) -> list[tuple[dict[str, Any], str | None]]:
    path = folder / "providers.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return provider_file.read(path)


def refused(folder: Path, content: Any) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        read(folder, content)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    return str(caught.value).splitlines()


def test_an_omitted_member_has_a_default(tmp_path: Path) -> None:
    assert read(tmp_path, [CLAUDE]) == [
        (
            {
                **CLAUDE,
                "base_url": "https://api.anthropic.com",
                "enabled": True,
                "connect_secs": None,
                "first_token_secs": None,
                "total_secs": None,
                "max_concurrent": 16,
                "daily_tokens": 0,
            },
            None,
        )
    ]


def test_the_order_is_that_of_the_file(tmp_path: Path) -> None:
    found = read(tmp_path, [CLAUDE | {"name": name} for name in ("z", "a", "m")])
    assert [facts["name"] for facts, _ in found] == ["z", "a", "m"]


def test_a_key_stands_in_the_file_or_in_one_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{SECRET}\n")
    content = [CLAUDE | {"key": "sk-1"}, CLAUDE | {"name": "b", "key_file": "key"}]
    content.append(CLAUDE | {"name": "c", "key_file": str(tmp_path / "key")})
    assert [key for _, key in read(tmp_path, content)] == ["sk-1", SECRET, SECRET]


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"name": None}, "provider 2, name: must be a valid string"),
        ({"name": " "}, "provider 2 (' '), name: must have at least 1 character"),
        (
            {"type": "gemini"},
            "provider 2 ('b'), type: must be 'anthropic', 'openai', 'openrouter', 'ollama', 'litellm'",
        ),
        ({"type": "custom"}, "provider 2 ('b'), base_url: is missing, the type custom has no default"),
        ({"models": []}, "provider 2 ('b'), models: must have at least 1 item"),
        ({"models": ["m", "m"]}, "provider 2 ('b'), models: must not name a model twice"),
        ({"models": [7]}, "provider 2 ('b'), models.0: must be a valid string"),
        ({"enabled": "yes"}, "provider 2 ('b'), enabled: must be a valid boolean"),
        ({"total_secs": "30"}, "provider 2 ('b'), total_secs: must be a valid number"),
        ({"total_secs": 0}, "provider 2 ('b'), total_secs: must be greater than or equal to 0.1"),
        ({"daily_tokens": -1}, "provider 2 ('b'), daily_tokens: must be greater than or equal to 0"),
        ({"api_key": SECRET}, "provider 2 ('b'), api_key: is not known"),
        ({"key": f"{SECRET} {SECRET}"}, "provider 2 ('b'), key: must be printable ASCII without spaces"),
        ({"key": [SECRET]}, "provider 2 ('b'), key: must be a valid string"),
        ({"key": ""}, "provider 2 ('b'), key: is empty: omit it where none is needed"),
        ({"key": SECRET, "key_file": "k"}, "provider 2 ('b'), key and key_file: must not both be there"),
        ({"key_file": "k"}, "provider 2 ('b'), key_file: must be the path of a readable text file (FileNotFoundError)"),
        ({"name": "CLAUDE"}, "'claude' is the name of several providers"),
    ],
)
def test_a_wrong_member_is_one_line_that_names_it(tmp_path: Path, changed: dict[str, Any], line: str) -> None:
    (found,) = refused(tmp_path, [CLAUDE, CLAUDE | {"name": "b"} | changed])
    assert found.startswith(line)


def test_a_key_that_is_wrong_in_its_own_file_is_told_as_that(tmp_path: Path) -> None:
    for content, line in (
        (f"{SECRET}\n{SECRET}", "provider 1 ('claude'), key_file: its key must be printable ASCII"),
        ("\n", "provider 1 ('claude'), key: is empty"),
    ):
        (tmp_path / "key").write_text(content)
        (found,) = refused(tmp_path, [CLAUDE | {"key_file": "key"}])
        assert found.startswith(line)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("llm.example.net/v1", "must be a URL such as https://llm.example.net/v1"),
        ("ftp://llm.example.net", "must be a URL such as https://llm.example.net/v1"),
        (f"https://u:{SECRET}@llm.example.net", "must not contain a user or a password"),
        (f"https://{SECRET}@llm.example.net", "must not contain a user or a password"),
        (f"https://llm.example.net/v1?key={SECRET}", "has an unknown parameter 'key' after '?'"),
        ("https://llm.example.net/v1?", "must end with its path"),
        ("https://llm.example.net/#v1", "has a '#'"),
        ("https://a,b/v1", "must name one host"),
        ("https:///v1", "must name one host"),
        ("https://%2Fvar%2Frun/v1", "must name one host"),
        ("https://llm.example.net:99999", "has a port that is not a number from 1 to 65535"),
        ("https://llm.example.net/a b", "has a space"),
    ],
)
def test_a_base_url_is_read_strictly(tmp_path: Path, url: str, problem: str) -> None:
    (found,) = refused(tmp_path, [CLAUDE | {"base_url": url}])
    assert found.startswith(f"provider 1 ('claude'), base_url: {problem}")


@pytest.mark.parametrize("url", ["http://10.0.0.9:8000/v1/", "https://[2001:db8::1]/v1", "https://proxy/a/b%20c"])
def test_a_base_url_is_kept_without_the_slash_at_its_end(tmp_path: Path, url: str) -> None:
    [(facts, _)] = read(tmp_path, [CLAUDE | {"base_url": url}])
    assert facts["base_url"] == url.rstrip("/")


def test_several_problems_are_several_lines(tmp_path: Path) -> None:
    assert refused(tmp_path, [{}, 7, CLAUDE | {"enabled": 1, "x": 1}]) == [
        "provider 1, name: is missing",
        "provider 1, models: is missing",
        "provider 1, type: is missing",
        "provider 2, must be a JSON object",
        "provider 3 ('claude'), enabled: must be a valid boolean",
        "provider 3 ('claude'), x: is not known",
    ]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("", "must be valid JSON (line 1)"),
        ("[\n{]", "must be valid JSON (line 2)"),
        ('[{"name": "a", "name": "b"}]', "must be valid JSON: an object has a member twice"),
        ("[" * 100_000, "must hold a JSON list of providers"),
        ('{"providers": []}', "must hold a JSON list of providers"),
        (" " * 1_100_000, "must be a readable text file of at most 1048576 characters"),
    ],
)
def test_a_file_that_is_no_list_is_one_line(tmp_path: Path, content: str, line: str) -> None:
    assert refused(tmp_path, content) == [line]


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(InvalidInput, match=r"must be a readable text file \(\w+Error\)"):
            provider_file.read(path)


def test_an_empty_list_is_no_mistake(tmp_path: Path) -> None:
    assert read(tmp_path, []) == []
