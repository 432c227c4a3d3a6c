"""The versions of bundled libraries are those that the libraries report themselves."""

import importlib.metadata
import re
import subprocess
import sys

import ssh.session

from netstacks import __version__, bundled


def test_each_component_names_its_package_and_its_libraries() -> None:
    found = {each.package.partition(" ")[0]: each for each in bundled.components()}
    assert list(found) == ["ssh-python", "psycopg", "cryptography", "Python"]
    libssh, ssh_openssl = found["ssh-python"].libraries
    assert re.fullmatch(r"libssh \d+\.\d+\.\d+", libssh)
    libpq, _ = found["psycopg"].libraries
    assert re.fullmatch(r"libpq \d+\.\d+", libpq)
    for each in found.values():
        assert re.match(r"OpenSSL \d+\.\d+\.\d+", each.libraries[-1])
        assert each.purpose
    assert found["ssh-python"].package == f"ssh-python {importlib.metadata.version('ssh-python')}"
    # The one that libssh is linked with, which stands in its file, and no other that this process has loaded.
    [bundled_file] = [
        file.locate()
        for file in importlib.metadata.files("ssh-python") or []
        if re.fullmatch(r"libcrypto-\w+\.so\.\d+", file.name)
    ]
    with open(str(bundled_file), "rb") as library:
        assert ssh_openssl.encode() in library.read()


def test_a_library_that_cannot_be_asked_is_unknown() -> None:
    assert bundled._reported_by(ssh.session.__file__, "no_such_function").startswith("unknown")
    assert bundled._reported_by(__file__, "OpenSSL_version").startswith("unknown")


def test_the_command_prints_them_after_its_own_version() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "netstacks", "--version"], capture_output=True, text=True, check=True
    )
    first, *others = answer.stdout.splitlines()
    assert first == f"netstacks, version {__version__}"
    assert [each.package in line for each, line in zip(bundled.components(), others, strict=True)] == [True] * 4
    assert "libssh" in others[0]
