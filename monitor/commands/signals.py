"""`policywatch signals list`: what the running daemon has told the world, newest last."""

import json
import sys
from argparse import Namespace
from typing import Any

import urllib3

from monitor.config_file import load_config
from monitor.exit_codes import FINE, UNREACHABLE

TIMEOUT_S = 5.0


def run(arguments: Namespace) -> int:
    """Ask the daemon on its HTTP port; 3 where it does not answer."""
    config = load_config(arguments.config)
    host = f"[{config.http_host}]" if ":" in config.http_host else config.http_host
    address = arguments.address or f"http://{host}:{config.http_port}"
    try:
        status = urllib3.request("GET", f"{address}/api/v1/status", timeout=TIMEOUT_S, retries=False).json()
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        print(f"policywatch: no daemon answers at {address}: {type(error).__name__}", file=sys.stderr)
        return UNREACHABLE
    if arguments.json:
        print(json.dumps(status["signals"]))
    else:
        _print(status["signals"])
    return FINE


def _print(signals: list[dict[str, Any]]) -> None:
    for signal in signals:
        mark = " (dry run)" if signal["dry_run"] else ""
        print(
            f"{signal['time']}  {signal['kind']} {signal['state']}{mark}  {signal['deployment']}  {signal['id']}"
        )
        print(f"    {signal['reason']}")
    if not signals:
        print("no signal since the daemon started")
