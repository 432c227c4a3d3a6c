"""DATABASE_URL means to us what it means to libpq, and what libpq would stumble over is refused in words."""

import pytest
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from netstacks.store.database_url import PARAMETERS, parse
from tests.refusals import assert_refused


def test_the_parameters_are_libpqs() -> None:
    assert {each.keyword.decode() for each in pq.Conninfo.get_defaults()} <= PARAMETERS


@pytest.mark.parametrize(
    "text",
    [
        "postgres://u:p@h:5432/db",
        "postgresql://h/db",
        "postgresql://u@h",
        "postgres://u:a:b@h/db",
        "postgres://u:a#b?c,d[e@h/db",
        "postgres://u%40x:p%2F%25%40@h/d%20b",
        "postgres://[2001:db8::1]:5433/db",
        "postgres://[fe80::1%25eth0]/db",
        "postgres://h1:5432,h2:5433/db?target_session_attrs=read-write",
        "postgres://h1,h2:5433/db",
        "postgres://h1,[::1]/db?sslmode=verify-full&sslrootcert=/etc/ca.pem",
        "postgres:///db",
        "postgres:///db?host=/run/postgresql&port=5433",
        "postgres://%2Frun%2Fpostgresql/db",
        "postgres://h/db?user=me@server&password=a%26b",
        "postgres://u:p@/db?host=h",
        "postgres://h/db?ssl=true",
        "postgres://h/db?options=-c%20search_path%3Dx",
        "service=netstacks",
        "host=h port=5432 user=u password='a b\\'c' dbname=db",
        "host = h  user=u password=a\\ b",
        "host=h1,h2 port=1,2 dbname=db",
        "host=/run/postgresql dbname=db",
        "host=2001:db8::1 dbname=db",
        "dbname=db password=''",
    ],
)
def test_an_accepted_url_means_the_same_to_libpq(text: str) -> None:
    wanted = {name: value for name, value in conninfo_to_dict(text).items() if value.strip(",")}
    assert {name: value for name, value in parse(text).items() if value} == wanted


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("postgres://u:57/hunter2@h/db", "a '/' in a password is written %2F"),
        ("postgres://u:hunter2/x@h/db", "a '/' in a password is written %2F"),
        ("postgres://u:hunter2@x@h/db", "'@'"),
        ("postgres://u:hunter2%@h/db", "a '%' itself is written %25"),
        ("postgres://u:hunter2@h/db#x", "has a '#' after its host"),
        ("postgres://u:hunter2@h#x/db", "neither a name nor an address"),
        ("postgres://u:hunter2@h:x/db", "has a port that is not a number"),
        ("postgres://u:hunter2@h:/db", "has a port that is not a number"),
        ("postgres://u:hunter2@h:70000/db", "has a port that is not a number"),
        ("postgres://u:hunter2@::1/db", "an IPv6 address must be in brackets"),
        ("postgres://u:hunter2@:5432/db", "has no host, or an empty one"),
        ("postgres://u:hunter2@/db", "has no host, or an empty one"),
        ("postgres://u:hunter2@h1,,h2/db", "has no host, or an empty one"),
        ("postgres://u:hunter2@h/db/x", "has a '/' in the name of its database"),
        ("postgres://u:hunter2@h/db?schema=public", "unknown parameter 'schema'"),
        ("postgres://u:hunter2@h/db?sslmode=on", "sslmode must be one of disable, allow, prefer, require"),
        ("postgres://u:hunter2@h/db?ssl=maybe", "unknown parameter 'ssl'"),
        ("postgres://u:hunter2@h/db?target_session_attrs=primry", "target_session_attrs must be one of any"),
        ("postgresql+psycopg://u:hunter2@h/db", "must be a URL such as postgres://"),
        ("Postgres://u:hunter2@h/db", "must be a URL such as postgres://"),
        ("postgres:/u:hunter2@h/db", "must be a URL such as postgres://"),
        ("mysql://u:hunter2@h/db", "must be a URL such as postgres://"),
        ("u:hunter2@h/db", "must be a URL such as postgres://"),
        ("'postgres://u:hunter2@h/db'", "has quotes around it"),
        ("postgres://u:hunter2@h/d b", "a space in a password is written %20"),
        ("postgres://u:hunter2@h\n/db", "a line break"),
        ("host=h password=hunter2 db=x", "a name before '=' that libpq does not know"),
        ("host=h password=hunter2 more words", "must be name=value pairs"),
        ("host=h password='hunter2", "must be name=value pairs"),
        ("host=h port=x password=hunter2", "has a port that is not a number"),
        ("host=h:5432 password=hunter2", "a port is separate, as port=5432"),
        ("host=h1,h2,h3 port=1,2 password=hunter2", "names 3 hosts and 2 ports"),
    ],
)
def test_a_mistake_is_told_without_the_password(text: str, told: str) -> None:
    assert_refused(parse, text, told)
