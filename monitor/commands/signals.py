"""`policywatch signals ...`: what the daemon has told the world, and what people say to it."""

import getpass
import json
import sqlite3
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import urllib3

from alerts.audit import entries, verify
from alerts.senders.sender import secrets_in
from alerts.signal import rfc3339
from monitor.config import Config
from monitor.config_file import load_config
from monitor.control.commanding import ROUTE
from monitor.durations import duration_ms
from monitor.exit_codes import FINDING, FINE, UNREACHABLE, USAGE
from monitor.persistence.checkpoint import FILE_NAME

TIMEOUT_S = 10.0


def run(arguments: Namespace) -> int:
    """One action; 3 where no daemon answers, 1 where it refuses or the audit log does not verify."""
    config = load_config(arguments.config)
    if arguments.action == "audit":
        return _audit(config, arguments)
    host = f"[{config.http_host}]" if ":" in config.http_host else config.http_host
    address = arguments.address or f"http://{host}:{config.http_port}"
    try:
        if arguments.action == "list":
            return _list(_asked("GET", f"{address}/api/v1/status"), as_json=arguments.json)
        return _command(address, config, arguments)
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        print(f"policywatch: no daemon answers at {address}: {type(error).__name__}", file=sys.stderr)
        return UNREACHABLE


def _command(address: str, config: Config, arguments: Namespace) -> int:
    order: dict[str, Any] = {
        "do": arguments.action,
        "by": arguments.by or getpass.getuser(),
        "why": arguments.why,
    }
    if arguments.action == "silence":
        try:
            order["matchers"] = dict(pair.split("=", 1) for pair in arguments.match)
            order["for_ms"] = duration_ms(arguments.for_)
        except ValueError as error:
            print(f"policywatch: --match NAME=VALUE and --for 2h are needed: {error}", file=sys.stderr)
            return USAGE
    else:
        order["target"] = arguments.id
    token = (
        {} if config.http_token is None else {"Authorization": f"Bearer {secrets_in(config.http_token)[0]}"}
    )
    reply = _asked("POST", address + ROUTE, body=json.dumps(order).encode(),
                   headers={"Content-Type": "application/json", **token})  # fmt: skip
    if arguments.json:
        print(json.dumps(reply))
    else:
        print(f"{reply['text']}" + (f"  {reply['id']}" if reply["id"] else ""))
    return FINE if reply["status"] == 200 else FINDING


def _asked(method: str, url: str, **what: Any) -> Any:
    return urllib3.request(method, url, timeout=TIMEOUT_S, retries=False, **what).json()


def _list(status: dict[str, Any], *, as_json: bool) -> int:
    if as_json:
        print(json.dumps(status["signals"]))
        return FINE
    for signal in status["signals"]:
        mark = " (dry run)" if signal["dry_run"] else ""
        print(
            f"{signal['time']}  {signal['kind']} {signal['state']}{mark}  {signal['deployment']}  {signal['id']}"
        )
        print(f"    {signal['reason']}")
    if not status["signals"]:
        print("no signal since the daemon started")
    desk = status.get("desk", {})
    for one in desk.get("waiting", ()):
        print(f"waits for approval until {one['until']}: {one['id']}")
        print(f"    {one['reason']}")
    for one in desk.get("silences", ()):
        matched = ", ".join(f"{name}={value}" for name, value in one["matchers"].items())
        print(f"silenced until {one['until']} by {one['by']}: {matched}  {one['id']}  ({one['why']})")
    return FINE


def _audit(config: Config, arguments: Namespace) -> int:
    """Reads the state file itself, so that it works without a daemon."""
    path = Path(config.state_path) / FILE_NAME
    if not path.exists():
        print(f"policywatch: there is no {path}", file=sys.stderr)
        return UNREACHABLE
    conn = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5.0)
    try:
        if arguments.verify:
            conn.execute("BEGIN")  # one look at a file that the daemon goes on writing
            return _verified(*verify(conn), as_json=arguments.json)
        for entry in entries(conn, arguments.last):
            record = entry.record
            if arguments.json:
                print(json.dumps({"seq": entry.seq, "at": rfc3339(record.at_ms), "what": record.what,
                                  "who": record.who, "detail": dict(record.detail), "hash": entry.hash}))  # fmt: skip
            else:
                detail = ", ".join(f"{name}: {value}" for name, value in record.detail.items())
                print(f"{entry.seq}  {rfc3339(record.at_ms)}  {record.what} by {record.who}  {detail}")
    finally:
        conn.close()
    return FINE


def _verified(count: int, newest: str, faults: list[str], *, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"records": count, "newest": newest, "faults": faults}))
    else:
        print(f"{count} records, newest hash {newest}")
        for fault in faults:
            print(f"  {fault}")
    return FINDING if faults else FINE
