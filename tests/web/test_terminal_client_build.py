"""The Terminal client's build: cached for ever where names have a hash, and compressed."""

import gzip
from pathlib import Path

import pytest

from netstacks.web.context import Services
from tests.web.conftest import Api

SCRIPT = "/terminal/assets/index-1a2b3c.js"
TEXT = b"export const answer = 42;\n" * 4000


@pytest.fixture
def build(tmp_path: Path, services: Services) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>Terminal</title>" + " " * 2000)
    (tmp_path / "assets/index-1a2b3c.js").write_bytes(TEXT)
    (tmp_path / "logo.png").write_bytes(b"\x89PNG" + bytes(4000))
    services.settings = services.settings.model_copy(update={"terminal_web_dir": tmp_path})
    return tmp_path


def test_a_script_is_sent_compressed_to_a_client_that_takes_it(build: Path, anonymous: Api) -> None:
    for _ in range(2):
        answer = anonymous.get(SCRIPT, headers={"Accept-Encoding": "gzip, deflate, br"})
        assert answer.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(answer.data) == TEXT
        assert len(answer.data) < len(TEXT) / 10
        assert answer.headers["Content-Type"].startswith("text/javascript")
        assert "immutable" in answer.headers["Cache-Control"]
        assert "max-age=31536000" in answer.headers["Cache-Control"]
        assert answer.headers["Vary"] == "Accept-Encoding"
    again = anonymous.get(SCRIPT, headers={"Accept-Encoding": "gzip", "If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


@pytest.mark.parametrize("accepted", ["", "identity", "gzip;q=0", "br"])
def test_a_client_that_does_not_take_it_gets_the_file(build: Path, anonymous: Api, accepted: str) -> None:
    answer = anonymous.get(SCRIPT, headers={"Accept-Encoding": accepted})
    assert ("Content-Encoding" in answer.headers, answer.data) == (False, TEXT)
    assert answer.headers["Vary"] == "Accept-Encoding"


def test_what_the_build_has_compressed_is_sent(build: Path, anonymous: Api) -> None:
    (build / "assets/index-1a2b3c.js.br").write_bytes(b"brotli")
    (build / "assets/index-1a2b3c.js.gz").write_bytes(b"gzipped")
    answer = anonymous.get(SCRIPT, headers={"Accept-Encoding": "gzip, br"})
    assert (answer.headers["Content-Encoding"], answer.data) == ("br", b"brotli")
    assert answer.headers["Content-Type"].startswith("text/javascript")
    answer = anonymous.get(SCRIPT, headers={"Accept-Encoding": "gzip"})
    assert (answer.headers["Content-Encoding"], answer.data) == ("gzip", b"gzipped")


def test_a_file_that_has_changed_is_compressed_anew(build: Path, anonymous: Api) -> None:
    first = anonymous.get("/terminal/", headers={"Accept-Encoding": "gzip"})
    (build / "index.html").write_text("<!doctype html><title>Another</title>" + " " * 2000)
    second = anonymous.get("/terminal/", headers={"Accept-Encoding": "gzip"})
    assert b"Terminal" in gzip.decompress(first.data)
    assert b"Another" in gzip.decompress(second.data)
    assert "no-cache" in second.headers["Cache-Control"]


def test_images_and_absent_files_are_as_before(build: Path, anonymous: Api) -> None:
    answer = anonymous.get("/terminal/logo.png", headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in answer.headers
    for path in ("nothing.js", "../secret.js", "assets/../../secret.js"):
        assert anonymous.get(f"/terminal/{path}", headers={"Accept-Encoding": "gzip"}).status_code == 404
