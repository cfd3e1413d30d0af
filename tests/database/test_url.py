"""What `--db` names."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execaudit.database.url import OPTIONS, Central, Engine, location_of
from execaudit.errors import ConfigError

# No control characters, and no halves of characters.
TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8)
NAMES = st.from_regex(r"[a-z0-9_]([a-z0-9_.-]{0,8}[a-z0-9_])?", fullmatch=True)
ADDRESSES = st.ip_addresses(v=6).map(str) | st.just("fe80::1%eth0")
SOCKETS = TEXTS.map(lambda name: f"/{name}")


@given(
    st.text(st.characters(exclude_characters="\0"), min_size=1).filter(
        lambda name: "://" not in name and name != ":memory:"
    )
)
def test_a_path_is_itself(name: str) -> None:
    """What is no URL is the file of that name, percent signs and question marks included."""
    assert Path(name) == location_of(name)
    assert Path(f"/{name}") == location_of(f"/{name}")


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///history.db", "history.db"),
        ("SQLite:///history.db", "history.db"),
        ("sqlite:///./a b/history.db", "a b/history.db"),
        ("sqlite:////var/lib/history.db", "/var/lib/history.db"),
        ("sqlite:///a%20b?c#d", "a%20b?c#d"),
        ("sqlite:///\udcff.db", "\udcff.db"),
        ("sqlite:///postgresql://x", "postgresql:/x"),
    ],
)
def test_an_sqlite_url_names_a_file(url: str, path: str) -> None:
    """Three slashes begin a relative path and four an absolute one, as SQLAlchemy has it."""
    assert Path(path) == location_of(url)


@pytest.mark.parametrize(
    "url",
    [
        "mysql+pymysql://u@h/d",
        "postgresql+psycopg://u@h/d",
        "sqlite://host/x",
        "sqlite+pysqlcipher:///x",
        "file:///x",
        "s3://b",
    ],
)
def test_another_database_is_refused(url: str) -> None:
    """A URL of another kind is a wrong setting, and the message says what is possible."""
    with pytest.raises(
        ConfigError, match=r"^cannot use the database [^\n]*give a path, or sqlite:///PATH$"
    ) as caught:
        location_of(url)
    assert caught.value.exit_status == 2


@pytest.mark.parametrize("name", ["", ":memory:", "sqlite:///", "sqlite:///:memory:", "a\0b", "sqlite://"])
def test_a_history_needs_a_file(name: str) -> None:
    """What names no file, or one that ends with the process, is a wrong setting."""
    with pytest.raises(ConfigError, match="give a path, or sqlite:///PATH"):
        location_of(name)


_PG, _CH = Engine.POSTGRESQL, Engine.CLICKHOUSE


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://audit@db.example/execs", Central(_PG, "audit", "db.example", None, "execs")),
        ("postgres://db:5433/execs", Central(_PG, None, "db", 5433, "execs")),
        ("PostgreSQL://db/", Central(_PG, None, "db", None, None)),
        ("postgresql://db", Central(_PG, None, "db", None, None)),
        ("postgresql://", Central(_PG, None, None, None, None)),
        ("postgresql:///execs", Central(_PG, None, None, None, "execs")),
        (
            "postgresql:///e?host=/run/pg&port=5433&user=a&sslmode=disable",
            Central(_PG, "a", "/run/pg", 5433, "e", (("sslmode", "disable"),)),
        ),
        ("postgresql://a@%2Frun%2Fpg:5433/e", Central(_PG, "a", "/run/pg", 5433, "e")),
        ("postgresql://a%40b%3A@h/e%2Ff%20%C3%A9", Central(_PG, "a@b:", "h", None, "e/f é")),
        ("postgresql://[2001:db8::1]:5433/e", Central(_PG, None, "2001:db8::1", 5433, "e")),
        ("postgresql:///e?host=2001:db8::1", Central(_PG, None, "2001:db8::1", None, "e")),
        ("clickhouse://[fe80::1%25eth0]/e", Central(_CH, None, "fe80::1%eth0", None, "e")),
        (
            "clickhouse://reader@ch:9440/e?verify=1&secure=1",
            Central(_CH, "reader", "ch", 9440, "e", (("secure", "1"), ("verify", "1"))),
        ),
        (
            "postgresql://h/e?sslrootcert=/etc/a%20b.pem&",
            Central(_PG, None, "h", None, "e", (("sslrootcert", "/etc/a b.pem"),)),
        ),
    ],
)
def test_a_url_names_a_central_database(url: str, expected: Central) -> None:
    """As libpq has it; ClickHouse's are alike."""
    assert expected == location_of(url)


@given(
    st.builds(
        Central,
        st.just(Engine.POSTGRESQL),
        st.none() | TEXTS,
        st.none() | NAMES | ADDRESSES | SOCKETS,
        st.none() | st.integers(1, 65535),
        st.none() | TEXTS,
        st.dictionaries(
            st.sampled_from(
                sorted(OPTIONS[Engine.POSTGRESQL] - {"host", "port", "user", "dbname", "sslmode"})
            ),
            TEXTS,
        ).map(lambda options: tuple(sorted(options.items()))),
    )
    | st.builds(
        Central,
        st.just(Engine.CLICKHOUSE),
        st.none() | TEXTS,
        NAMES | ADDRESSES,
        st.none() | st.integers(1, 65535),
        st.none() | TEXTS,
        st.dictionaries(st.sampled_from(sorted(OPTIONS[Engine.CLICKHOUSE])), TEXTS).map(
            lambda options: tuple(sorted(options.items()))
        ),
    )
)
def test_what_is_shown_names_the_same(central: Central) -> None:
    """Whatever is in a name: the text of a location is the URL of it, in plain characters."""
    shown = str(central)

    assert central == location_of(shown)
    assert re.fullmatch(r"[!-~]+", shown)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://h#x/e", "has a #"),
        ("postgresql://h/%zz", "has a % without"),
        ("postgresql://h/e%2", "has a % without"),
        ("postgresql://h/%ff", "is not UTF-8"),
        ("postgresql://h/\udcff", "is not UTF-8"),
        ("postgresql://h/a%00b", "has a control character"),
        ("postgresql://h/a%0Ab", "has a control character"),
        ("postgresql://h/a/b", "has more than a database"),
        ("postgresql://h:x/e", "has a port"),
        ("postgresql://h:/e", "has a port"),
        ("postgresql://h:0/e", "has a port"),
        ("postgresql://h:65536/e", "has a port"),
        ("postgresql://h:٣/e", "has a port"),
        ("postgresql:///e?port=x", "has a port"),
        ("postgresql://::1/e", "has more than one :"),
        ("postgresql://[::1/e", "has no IPv6 address"),
        ("postgresql://[h]/e", "has no IPv6 address"),
        ("postgresql://[::1]x/e", "has no IPv6 address"),
        ("postgresql://[::1%25]/e", "has no IPv6 address"),
        ("postgresql://a,b/e", "has a host"),
        ("postgresql://a b/e", "has a host"),
        ("postgresql://-x/e", "has a host"),
        ("postgresql://%2d%2dx/e", "has a host"),
        ("postgresql://é/e", "has a host"),
        ("postgresql://h/e?host=i", "says the host twice"),
        ("postgresql://h/e?sslmode=a&sslmode=b", "says sslmode twice"),
        ("postgresql://h/e?nonsense=1", "has an option that is not known: there are application_name,"),
        ("postgresql://h/e?sslmode=verify_full", "has an sslmode that is not known: there are disable,"),
        ("postgresql://h/e?sslmode", "has an option that is not known"),
        ("clickhouse://h/e?host=i", "has an option that is not known: there are ca_certs,"),
        ("clickhouse:///e", "names no host"),
        ("clickhouse://%2Frun%2Fch/e", "has a host"),
    ],
)
def test_a_wrong_url_is_refused(url: str, says: str) -> None:
    """In one line that says what is wrong, and what to write."""
    with pytest.raises(ConfigError) as caught:
        location_of(url)

    scheme = url.partition(":")[0]
    assert str(caught.value).startswith(f"the URL {scheme}://... {says}")
    assert caught.value.fix
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://audit:{}@db.example/audit",
        "clickhouse://audit:{}@db.example/audit",
        "POSTGRES://audit:{}@db.example/audit",
        "postgresql://:{}@db.example/audit",
        "postgresql://db.example/audit?password={}",
        "postgresql://db.example/audit?PASSWORD={}",
        "postgresql://db.example/audit?sslpassword={}",
        "clickhouse://db.example/audit?access_token={}",
        "mysql://audit:{}@db.example/audit",
        "postgresql+psycopg://audit:{}@db.example/audit",
    ],
)
@given(secret=st.text(st.characters(codec="utf-8"), max_size=6).map(lambda text: f"hunter{text}2"))
def test_a_password_is_refused_and_not_repeated(url: str, secret: str) -> None:
    """Others can read a command line, and the message may go to a log. Whatever is in the password."""
    for written in (secret, quote(secret, safe="")):
        with pytest.raises(ConfigError) as caught:
            location_of(url.format(written))
        assert "hunter" not in str(caught.value)


@pytest.mark.parametrize("url", ["postgresql://u:pw@h/e", "clickhouse://u:@h/e", "postgresql://h?password="])
def test_where_a_password_belongs_is_said(url: str) -> None:
    """What to do instead is in the message."""
    with pytest.raises(ConfigError, match=r"has a password, .*: leave it out: .*--password-file.*PGPASSFILE"):
        location_of(url)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("/run/postgresql", True),
        (None, False),
        ("127.0.0.1.example.org", False),
        ("localhost.example.org", False),
        ("10.0.0.1", False),
        ("::2", False),
    ],
)
def test_what_stays_on_this_host_is_known(host: str | None, *, expected: bool) -> None:
    """There, no encryption is needed; a name that only begins so is another host."""
    assert expected == Central(Engine.POSTGRESQL, None, host, None, None).is_loopback
