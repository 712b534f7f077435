"""The folder that a demo runs in: config, webhook secret, accepted log, baseline; everything a user would have."""

import base64
import secrets
from dataclasses import dataclass
from pathlib import Path

from monitor.demo.policies import LEARNED, SAFE
from monitor.demo.traffic import DEPLOYMENT
from monitor.demo.world import SHELVES

BUCKET_S, WINDOW_S = 1, 10
PARTITIONS = 2
SESSION_S = 4
TOPIC_KINDS = ("decisions", "rewards", "metrics", "signals", "dead_letters")


@dataclass(frozen=True, slots=True)
class Site:
    """Paths below one folder, made absolute."""

    folder: Path

    @property
    def config(self) -> Path:
        """The daemon's config, the same file for `baseline build`, `run` and `replay`."""
        return self.folder / "demo.toml"

    @property
    def secret(self) -> Path:
        """Signs the webhooks; daemon and serving layer read it."""
        return self.folder / "webhook-secret"

    @property
    def accepted(self) -> Path:
        """The log of the good days."""
        return self.folder / "accepted.jsonl"

    @property
    def baseline(self) -> Path:
        """What `baseline build` makes of the accepted log."""
        return self.folder / "home-ranker.npz"

    @property
    def state(self) -> Path:
        """The daemon's checkpoint and outbox."""
        return self.folder / "state"

    @property
    def daemon_log(self) -> Path:
        """What the daemon says."""
        return self.folder / "daemon.log"

    @property
    def serving_log(self) -> Path:
        """What the serving layer complains of."""
        return self.folder / "serving.log"

    @property
    def recording(self) -> Path:
        """What was seen, as JSON; the report can be made from it again."""
        return self.folder / "recording.json"

    @property
    def report(self) -> Path:
        """The report for a person."""
        return self.folder / "report.html"


def make_site(folder: Path) -> Site:
    """The folder with a fresh secret and none of an earlier run's state."""
    site = Site(folder.resolve())
    site.folder.mkdir(parents=True, exist_ok=True)
    for old in (site.baseline, site.recording, site.report, *site.state.glob("*")):
        if old.is_file():
            old.unlink()
    site.secret.touch(mode=0o600)
    site.secret.write_text("whsec_" + base64.b64encode(secrets.token_bytes(32)).decode() + "\n")
    return site


def topic_names(prefix: str) -> dict[str, str]:
    """The topics of one run, by what they carry."""
    return {kind: f"{prefix}.{kind.replace('_', '-')}" for kind in TOPIC_KINDS}


def write_config(
    site: Site, bootstrap: str, topics: dict[str, str], webhook: str, api_version: str = ""
) -> None:
    """The config of the daemon; the rules are the three that are armed with nothing written."""
    names = ", ".join(f'{kind} = "{name}"' for kind, name in topics.items())
    client = (
        f'api_version = "{api_version}"  # what the in-memory broker speaks\n'
        f'session_timeout = "{SESSION_S}s"  # it answers a second join only when this has nearly passed\n'
        if api_version
        else ""
    )
    site.config.write_text(
        f"""# Written by `policywatch demo`. Try: policywatch check -c {site.config.name}
[source]
bootstrap_servers = ["{bootstrap}"]
topics = {{ {names} }}
group_id = "{topics["decisions"]}-watch"
lateness = "500ms"
idle_timeout = "2s"
{client}
[state]
path = "{site.state}"

[http]
port = 0  # any free one; the log says which

[[webhooks]]
url = "{webhook}"
secret_file = "{site.secret}"

[deployments.{DEPLOYMENT}]
baseline = "{site.baseline}"
fallback_policy = "{SAFE}"
policies = ["{LEARNED}", "{SAFE}"]
reward_horizon = "4s"
bucket = "{BUCKET_S}s"
window = "{WINDOW_S}s"
false_signals = "1 per 30d"
action_envelope = {{ actions = {list(range(len(SHELVES)))} }}
""",
        encoding="utf-8",
    )
