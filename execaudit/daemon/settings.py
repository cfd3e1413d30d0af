"""The settings of a recorder: durability, retention, rotation, metrics, rules, redaction. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from execaudit.config import scalars
from execaudit.daemon.log_file import NEVER, Rotation
from execaudit.daemon.wait_for import DEFAULT_SHARE, WaitFor
from execaudit.errors import ConfigError
from execaudit.event import LEVELS
from execaudit.sizes import parse_percent, parse_size
from execaudit.store.limits import DEFAULT_MIN_AGE, Limits
from execaudit.system.post import check_url
from execaudit.times import parse_duration

if TYPE_CHECKING:
    from execaudit.config import Settings
    from execaudit.event import Nanoseconds
    from execaudit.redaction.rules import RedactSettings

_KEYS = {
    "store": ("synchronous",),
    "retention": ("max_age", "max_size", "min_age", "wait_for_forward", "wait_share"),
    "json_log": ("max_size", "max_age", "max_total", "keep", "compress"),
    "metrics": ("textfile",),
    "redact": ("presets", "rules"),
    "seal": (
        "say_every",
        "timestamp",
        "timestamp_authority",
        "timestamp_interval",
        "timestamp_timeout",
        "timestamps",
    ),
}
_NS = 1_000_000_000
_MOST_KEPT = 1000


class HuntSettings(NamedTuple):
    """Which rules are run."""

    rules: tuple[str, ...]
    """Files and folders."""
    level: str | None
    """Only rules of this level or above."""


class SealSettings(NamedTuple):
    """What [seal] says."""

    say_every_s: float = 60.0
    """How often the log says a head."""
    url: str | None = None
    """Whom to ask for time stamps; None: nobody."""
    authority: Path | None = None
    """The certificates of who certifies that server."""
    interval_s: float = 3600.0
    """A stamp at most so often, except when the recorder stops."""
    timeout_s: float = 30.0
    """How long an answer may take."""
    left: Path = Path("/var/lib/execaudit-timestamp/stamps.json")
    """Where the process that asks leaves them for the recorder."""


@dataclass(frozen=True)
class Upkeep:
    """How a recorder looks after what it writes."""

    durable: bool = False
    """Whether each transaction waits until it is on the disk."""
    max_age_ns: Nanoseconds | None = None
    """Older execs are deleted."""
    max_bytes: int | None = None
    """The oldest are, when the database is larger; None: see limits.py."""
    min_age_ns: Nanoseconds = DEFAULT_MIN_AGE
    """Younger ones are not deleted for that, nor old JSON logs that have such."""
    wait_for: WaitFor | None = None
    """What is not forwarded is not deleted for its age."""
    rotation: Rotation = NEVER
    """Of the JSON log."""
    textfile: Path | None = None
    """Where node_exporter looks for metrics; its name ends with .prom."""
    hunt: HuntSettings | None = None
    """The detection rules that are run on what is recorded."""
    redact: RedactSettings | None = None
    """What is a secret in command lines; None: nothing is redacted."""
    seal: SealSettings = field(default_factory=SealSettings)
    """What is said of seals, and who stamps them."""

    @property
    def limits(self) -> Limits:
        """How much history is configured to be kept."""
        return Limits(self.max_age_ns, self.max_bytes, self.min_age_ns)


def upkeep(settings: Settings) -> Upkeep:
    """Returns what the settings say. Raises ConfigError, naming the file and the setting."""
    for name, keys in _KEYS.items():
        settings.check_keys(f"in [{name}]", settings.tables.get(name, {}), keys)
    synchronous = settings.text("store", "synchronous") or "normal"
    if synchronous not in {"normal", "full"}:
        settings.refuse('synchronous in [store] must be "normal" or "full"')
    textfile = settings.text("metrics", "textfile")
    if textfile is not None and not textfile.endswith(".prom"):
        settings.refuse("textfile in [metrics] must end with .prom", fix="node_exporter reads no others")
    min_age = settings.parsed("retention", "min_age", parse_duration)
    return Upkeep(
        durable=synchronous == "full",
        max_age_ns=settings.parsed("retention", "max_age", parse_duration),
        max_bytes=settings.parsed("retention", "max_size", parse_size),
        min_age_ns=DEFAULT_MIN_AGE if min_age is None else min_age,
        wait_for=_wait_for(settings),
        rotation=_rotation(settings, DEFAULT_MIN_AGE if min_age is None else min_age),
        textfile=None if textfile is None else Path(textfile),
        hunt=_hunt(settings),
        redact=redact_settings(settings),
        seal=seal_settings(settings),
    )


def seal_settings(settings: Settings) -> SealSettings:
    """Returns what [seal] says. Raises ConfigError."""
    settings.check_keys("in [seal]", settings.tables.get("seal", {}), _KEYS["seal"])
    found = SealSettings()
    url, authority = settings.text("seal", "timestamp"), settings.text("seal", "timestamp_authority")
    if url is not None:
        try:
            check_url(url)
        except ConfigError as exc:
            settings.refuse(f"timestamp in [seal]: {exc.what}", fix=exc.fix)
        if authority is None:
            settings.refuse(
                "timestamp in [seal] needs timestamp_authority",
                fix="a PEM file with the certificate of the time stamp authority's CA",
            )
    left = settings.text("seal", "timestamps")
    return SealSettings(
        _seconds(settings, "say_every", found.say_every_s),
        url,
        None if authority is None else Path(authority),
        _seconds(settings, "timestamp_interval", found.interval_s),
        _seconds(settings, "timestamp_timeout", found.timeout_s),
        found.left if left is None else Path(left),
    )


def _seconds(settings: Settings, key: str, default: float) -> float:
    """Returns a duration of [seal]. Raises ConfigError, also for none at all."""
    found = settings.parsed("seal", key, parse_duration)
    if found is None:
        return default
    if found < _NS:
        settings.refuse(f"{key} in [seal] must be a second or more")
    return found / _NS


def _wait_for(settings: Settings) -> WaitFor | None:
    path = settings.text("retention", "wait_for_forward")
    share = settings.parsed("retention", "wait_share", parse_percent)
    if path is None and share is not None:
        settings.refuse("wait_share in [retention] needs wait_for_forward")
    return None if path is None else WaitFor(Path(path), DEFAULT_SHARE if share is None else share)


def _hunt(settings: Settings) -> HuntSettings | None:
    """Returns the rules of [hunt], whose other settings are those of the command."""
    rules = settings.value("hunt", "rules")
    paths = [] if rules is None else scalars(rules)
    if paths is None:
        settings.refuse("rules in [hunt] must be a string, or a list of these")
    level = settings.text("hunt", "level")
    if level not in (None, *LEVELS[1:]):
        settings.refuse(f"level in [hunt] must be one of {', '.join(LEVELS[1:])}")
    return HuntSettings(tuple(paths), level) if paths else None


def redact_settings(settings: Settings) -> RedactSettings | None:
    """Returns what [redact] says; None if it says nothing. Raises ConfigError.

    Presets and regular expressions are looked at by redaction.ruleset.
    """
    settings.check_keys("in [redact]", settings.tables.get("redact", {}), _KEYS["redact"])
    presets, rules = settings.value("redact", "presets"), settings.value("redact", "rules")
    if presets is None and rules is None:
        return None
    from execaudit.redaction.rules import RedactSettings, parse_rules  # noqa: PLC0415  # only with redaction

    names = [] if presets is None else scalars(presets)
    if names is None:
        settings.refuse('presets in [redact] must be "all", or a list of presets')
    where = f"{settings.path}: [redact]"
    parsed = () if rules is None else parse_rules(rules, where)
    return RedactSettings(tuple(names), parsed, where) if names or parsed else None


def _rotation(settings: Settings, min_age_ns: Nanoseconds) -> Rotation:
    keep = settings.value("json_log", "keep")
    if keep is not None and (
        not isinstance(keep, int) or isinstance(keep, bool) or not 0 <= keep <= _MOST_KEPT
    ):
        settings.refuse(f"keep in [json_log] must be a number from 0 to {_MOST_KEPT}")
    compress = settings.value("json_log", "compress")
    if compress is not None and not isinstance(compress, bool):
        settings.refuse("compress in [json_log] must be true or false")
    return Rotation(
        max_bytes=settings.parsed("json_log", "max_size", parse_size),
        max_age_ns=settings.parsed("json_log", "max_age", parse_duration),
        keep=keep,
        compress=compress is not False,
        max_total=settings.parsed("json_log", "max_total", parse_size),
        min_age_ns=min_age_ns,
    )
