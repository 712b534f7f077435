"""What strangers can hand us, as functions of bytes: each takes anything, and raises only where a promise is broken."""

import atexit
import base64
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

from alerts.desk import Desk
from alerts.desk_terms import Command, Moment, Reply
from alerts.record import Record
from alerts.tray import Leaving
from monitor.assembly import build_core, build_pipeline, vocabulary_for
from monitor.batch import Kind, Rejected
from monitor.config_file import load_config
from monitor.config_reader import ConfigError
from monitor.control.commanding import commands_route
from monitor.control.http_server import Posted
from monitor.control.inbox import Inbox
from monitor.dead_letter import letter
from monitor.decoding.decode import decode
from monitor.decoding.decode_settings import DecodeSettings, DeploymentSettings, Envelope, Format
from monitor.event_files import EventFileError
from monitor.persistence.checkpoint import FILE_NAME, Checkpoint, CheckpointError
from monitor.persistence.codec import CodecError
from monitor.persistence.quarantine import opened
from monitor.persistence.state import CODEC
from monitor.replaying import Observer, replay
from monitor.source import Files
from monitor.vocabulary import Labels, Vocabulary
from tests.unit.monitor.worlds import T0, pipeline_of, small

SHAPES = (
    DecodeSettings({"home": DeploymentSettings()}, "home"),
    DecodeSettings(
        {
            "home": DeploymentSettings(
                state_width=2, policies=frozenset({"v1"}), envelope=Envelope(frozenset("01"))
            ),
            "shop": DeploymentSettings(envelope=Envelope(low=(0.0,), high=(1.0,))),
        },
        max_segment_values=2,
    ),
    DecodeSettings(
        {"home": DeploymentSettings()}, "home", fields={"decision_id": "meta.id", "state": "meta.x"}
    ),
    DecodeSettings({"home": DeploymentSettings()}, "home", format=Format.VW_DSJSON),
)
KINDS = (None, Kind.DECISION, Kind.REWARD, Kind.METRIC)
MOST_BUCKETS, MOST_DEPLOYMENTS = 1_000, 100  # of a config that is built: more is what its author asked for


def decoder(data: bytes) -> None:
    """Lines of a topic; the first byte says how they are read. Each is in the batch, or refused, exactly once."""
    how, kind = SHAPES[data[0] % 4] if data else SHAPES[0], KINDS[data[0] // 4 % 4] if data else None
    payloads = data[1:].split(b"\n")
    words = Vocabulary(Labels(2, ["home", "shop"], {"home": 0, "shop": 1}), action_limit=3, name_limit=2)
    batch, rejected = decode("p", range(len(payloads)), payloads, kind, words, how)
    refused = [one.offset for one in rejected]
    assert sorted({*batch.offsets.tolist(), *refused}) == list(range(len(payloads)))
    assert len(set(refused)) == len(refused)
    assert not {*batch.offsets.tolist()} & {*refused}


def config(data: bytes) -> None:
    """A file of any bytes is a config, which a daemon can be built from, or its faults are told in words."""
    path = _folder() / "policywatch.toml"
    path.write_bytes(data)
    try:
        made = load_config(path)
    except ConfigError as error:
        assert error.faults  # noqa: PT017 - either answer is right
        return
    long = any(one.window_ms > MOST_BUCKETS * one.bucket_ms for one in made.deployments.values())
    if long or len(made.deployments) > MOST_DEPLOYMENTS:
        return
    vocabulary = vocabulary_for(made, {})
    build_pipeline(made, build_core(made, {}, vocabulary), vocabulary)


def dead_letters(data: bytes) -> None:
    """A file of any bytes is replayed to its end; what is refused goes to a letter, which says the same again."""
    path = _folder() / "events.jsonl"
    path.write_bytes(data)
    refused: list[Rejected] = []
    try:
        replay(pipeline_of(small()), Files([str(path)], 1 << 20), Observer(on_rejected=refused.extend))
    except EventFileError:
        return
    for one in refused:
        told = json.loads(letter(one))
        payload = told["payload"].encode() if "payload" in told else base64.b64decode(told["payload_base64"])
        assert (payload, told["offset"], told["reason"]) == (one.payload, one.offset, str(one.reason))


def checkpoint(data: bytes) -> None:
    """Bytes where a state should be are a state or refused; a file of them is read, set aside, or refused in words."""
    with suppress(CodecError):
        CODEC.decode(data)
    folder = _folder() / "state"
    folder.mkdir(exist_ok=True)
    for name in folder.iterdir():
        name.unlink()
    (folder / FILE_NAME).write_bytes(data)
    try:
        state, _ = opened(folder, T0)
    except CheckpointError:
        return
    state.save({"shell": b""}, Leaving(records=[Record(T0, "fuzzed", "me", {})]), [], T0)
    state.close()


def http_body(data: bytes) -> None:
    """Any body of a command gets an answer of ours, and what it did can be saved and shown."""
    inbox = _Obeying()
    posted = Posted("127.0.0.1", {"content-type": "application/json"}, data)
    status, kind, body = commands_route(inbox, None)(posted)
    assert (kind, json.loads(body)["status"]) == ("application/json", status)
    assert status in (200, 400, 404, 409)
    CODEC.encode(inbox.desk.state())
    json.dumps(inbox.desk.view(), allow_nan=False).encode()
    with tempfile.TemporaryDirectory(dir=_folder()) as folder:
        state = Checkpoint(Path(folder))
        state.save({}, Leaving(records=inbox.desk.leaving().records), [], T0)
        state.close()


class _Obeying(Inbox):
    """Does at once what the main loop would do a moment later."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk()

    def ask(self, command: Command, within_s: float) -> Reply:
        return self.desk.obey(command, Moment(T0, T0, False, lambda signal: True))


@cache
def _folder() -> Path:
    """A place of this process, in memory where there is such a place."""
    memory = Path("/dev/shm")
    place = tempfile.mkdtemp(prefix="fuzz-", dir=memory if memory.is_dir() else None)
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return Path(place)


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "decoder": decoder,
    "config": config,
    "dead_letters": dead_letters,
    "checkpoint": checkpoint,
    "http_body": http_body,
}
