"""ClickHouse servers of the tests' own: Debian's, of 2018, alone or as shards; and a modern engine."""

from __future__ import annotations

import itertools
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.fleet.servers import LOOPBACK, Server, ServerError, as_ordinary_user, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CLUSTER = "fleet"
_CONFIG = """\
<yandex>
<logger><level>information</level><console>1</console></logger>
<listen_host>127.0.0.1</listen_host>
<tcp_port>{port}</tcp_port>
<http_port>{http_port}</http_port>
<path>{folder}/data/</path><tmp_path>{folder}/tmp/</tmp_path>
<format_schema_path>{folder}/schemas/</format_schema_path><user_files_path>{folder}/files/</user_files_path>
<users_config>users.xml</users_config>
<default_profile>default</default_profile><default_database>default</default_database>
<mark_cache_size>67108864</mark_cache_size><uncompressed_cache_size>0</uncompressed_cache_size>
<timezone>UTC</timezone>
<remote_servers>{clusters}</remote_servers>
</yandex>
"""
# What docs/fleet.md tells for a server whose users are in a file: who only asks changes nothing, and who only
# forwards makes and drops no tables.
_USERS = """\
<yandex>
<profiles>
<default><max_memory_usage>2000000000</max_memory_usage></default>
<execaudit-reader><readonly>2</readonly></execaudit-reader>
<execaudit-forwarder><allow_ddl>0</allow_ddl></execaudit-forwarder>
</profiles>
<quotas><default/></quotas>
<users>
<default><password/><networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota></default>
<reader><password>read</password><networks><ip>127.0.0.1</ip></networks>
<profile>execaudit-reader</profile><quota>default</quota></reader>
<forwarder><password>forward</password><networks><ip>127.0.0.1</ip></networks>
<profile>execaudit-forwarder</profile><quota>default</quota></forwarder>
</users>
</yandex>
"""
USERS = {"reader": "read", "forwarder": "forward"}
"""Passwords of the users who may do less than `default`."""


class ClickHouse(Server):
    """A server that speaks ClickHouse's native protocol."""

    def __init__(self) -> None:
        super().__init__()
        self._databases = itertools.count(1)

    def ask(self) -> None:
        """Asks the server anything. Raises an error of the driver while it is not ready."""
        self.execute("SELECT 1")

    def url(self, database: str = "default", user: str = "default", port: int | None = None) -> str:
        """Returns what --db takes; the port may be that of a proxy."""
        return f"clickhouse://{user}@{LOOPBACK}:{port or self.port}/{database}"

    def execute(
        self,
        statement: str,
        rows: Sequence[tuple[object, ...]] | None = None,
        database: str = "",
        **settings: object,
    ) -> Any:  # noqa: ANN401  # the driver has no types
        """Returns the rows of a statement's answer, with texts as bytes. Raises an error of the driver."""
        from clickhouse_driver import Client  # noqa: PLC0415  # of an extra

        given = {"strings_as_bytes": True, **settings}
        client = Client(LOOPBACK, self.port, database=database, settings=given, connect_timeout=5)
        try:
            return client.execute(statement, rows)
        finally:
            client.disconnect()

    def new_database(self) -> str:
        """Makes an empty database, and returns its name."""
        name = f"test_{next(self._databases)}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    def drop_database(self, name: str) -> None:
        """Drops a database with its tables."""
        self.execute(f"DROP DATABASE {name}")


class ModernClickHouse(ClickHouse):
    """A modern engine, see chdb_server. It knows no users and no cluster. Not started."""

    @property
    def place(self) -> Path:
        """The checkout, from which Python imports chdb_server."""
        return Path(__file__).parents[2]

    def command(self) -> Sequence[str]:
        """Returns the command that runs the server in the foreground."""
        # As the user of the tests, because another one may not be allowed to read the environment.
        return [
            "setpriv", "--pdeathsig=KILL", sys.executable, "-m", "tests.fleet.chdb_server", str(self.port),
            str(self.folder / "data"),
        ]  # fmt: skip


class OldClickHouse(ClickHouse):
    """Debian's server of 2018. Not started."""

    def __init__(self) -> None:
        if shutil.which("clickhouse-server") is None:
            raise ServerError("clickhouse-server is not installed: run `make test-fleet`")
        super().__init__()
        self.write_settings([[self]])

    def command(self) -> Sequence[str]:
        """Returns the command that runs the server in the foreground."""
        config = f"--config-file={self.folder / 'config.xml'}"
        return as_ordinary_user("clickhouse-server", config, death="KILL")

    def write_settings(self, shards: Sequence[Sequence[OldClickHouse]]) -> None:
        """Writes the files of settings; the servers of each shard are replicas."""
        replica = "<replica><host>127.0.0.1</host><port>{}</port></replica>"
        cluster = "".join(
            "<shard>" + "".join(replica.format(each.port) for each in shard) + "</shard>" for shard in shards
        )
        config = _CONFIG.format(
            port=self.port,
            http_port=free_port(),
            folder=self.folder,
            clusters=f"<{CLUSTER}>{cluster}</{CLUSTER}>",
        )
        (self.folder / "config.xml").write_text(config)
        (self.folder / "users.xml").write_text(_USERS)


class Shards:
    """Some of Debian's servers as the shards of a cluster. Not started."""

    def __init__(self, count: int = 2) -> None:
        self.servers = [OldClickHouse() for _ in range(count)]
        for each in self.servers:
            each.write_settings([[server] for server in self.servers])

    @property
    def first(self) -> OldClickHouse:
        """The server that clients speak to."""
        return self.servers[0]

    def __iter__(self) -> Iterator[OldClickHouse]:
        return iter(self.servers)
