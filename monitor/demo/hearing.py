"""What the demo's children say, put down in the recording."""

import json
from datetime import datetime
from typing import Any

import msgspec

from alerts.rules import DETECTORS, rule_of
from monitor.demo.policies import LEARNED
from monitor.demo.recording import Look, Received, Recording
from monitor.demo.tally import Second
from monitor.demo.traffic import DEPLOYMENT

Line = dict[str, Any]
_WORST_FIRST = ("error", "breach", "unknown", "ok")


def hear(recording: Recording, ports: dict[str, int], who: str, line: Line) -> None:
    """One line of one child."""
    if who == "serving":
        _hear_serving(recording, ports, line)
    elif who == "daemon":
        _hear_daemon(recording, ports, line)


def _hear_serving(recording: Recording, ports: dict[str, int], line: Line) -> None:
    match line.get("event"):
        case "listening":
            ports["serving"] = line["port"]
        case "serving":
            recording.mark("serving", line["at_ms"])
        case "changed":
            recording.mark("change", line["at_ms"])
        case "fallback_served":
            recording.mark("fallback", line["at_ms"])
        case "refused":
            recording.refused.append(line["why"])
        case "seconds":
            for second in line["seconds"]:
                recording.seconds[second["at_s"]] = msgspec.convert(second, Second)
        case "signal":
            _hear_signal(recording, line)


def _hear_signal(recording: Recording, line: Line) -> None:
    received = Received(line["at_ms"], line["verdict"], json.loads(line["body"])["data"])
    recording.received.append(received)
    if received.verdict == "applied":
        recording.mark("delivered", received.at_ms)
        if "change" not in recording.marks:
            recording.faults.append(f"a false alarm before the change: {received.data['reason']}")


def _hear_daemon(recording: Recording, ports: dict[str, int], line: Line) -> None:
    match line.get("event"):
        case "http_listening":
            ports["daemon"] = line["port"]
        case "alert_fired" if line["kind"] == "fallback":
            recording.mark("detected", round(datetime.fromisoformat(line["timestamp"]).timestamp() * 1000))


def look_at(status: Line) -> Look | None:
    """The learned policy's last bucket in the daemon's status; None before there is one."""
    deployment = status["deployments"].get(DEPLOYMENT)
    if deployment is None:
        return None
    at_ms = round(datetime.fromisoformat(deployment["sealed_until"]).timestamp() * 1000)
    measured = [key["measurements"] for key in deployment["keys"] if key["policy"] == LEARNED]
    if not measured:
        return Look(at_ms, None, None, 0, {})
    verdicts: dict[str, str] = {}
    value = line = None
    n = 0
    for m in measured[0]:
        rule = rule_of(m["detector"], m["statistic"])
        if rule:
            verdicts[rule] = min(verdicts.get(rule, "ok"), m["verdict"], key=_WORST_FIRST.index)
        if (m["detector"], m["statistic"]) == ("reward", "mean"):
            value, line, n = m["value"], m["threshold"], m["n"]
    in_order = {rule: verdicts[rule] for rule in DETECTORS if rule in verdicts}
    return Look(at_ms, value, line, n, in_order)
