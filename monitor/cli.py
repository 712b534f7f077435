"""The command line: arguments in, one command called, its exit code out."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from monitor.exit_codes import USAGE
from monitor.garbage import collect_rarely, one_heap


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; expected trouble is one plain message on standard error and an exit code."""
    arguments = parser().parse_args(argv)
    collect_rarely()
    one_heap()
    try:
        command = import_module(f"monitor.commands.{arguments.module}")
        return int(command.run(arguments))
    except BrokenPipeError:
        sys.stderr.close()
        return USAGE
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        trouble = import_module("monitor.expected_trouble").explained(
            error
        )  # loads all that can be in trouble
        if trouble is None:
            raise
        print(trouble.words, file=sys.stderr)
        return int(trouble.exit_code)


def parser() -> argparse.ArgumentParser:
    """The grammar of the command line."""
    root = argparse.ArgumentParser(
        prog="policywatch", description="Watches RL and bandit policies in production."
    )
    root.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = root.add_subparsers(required=True, metavar="COMMAND")
    _run(commands.add_parser("run", help="the daemon"))
    _replay(commands.add_parser("replay", help="the same core over files, as fast as it goes"))
    _baseline(commands.add_parser("baseline", help="make a baseline of accepted data"))
    _check(commands.add_parser("check", help="lint the config and its baselines"))
    _evaluate(commands.add_parser("evaluate", help="off-policy evaluation of a candidate, with a verdict"))
    _test_send(commands.add_parser("test-send", help="a test signal to every receiver, marked as one"))
    _demo(
        commands.add_parser("demo", help="a closed loop on this machine: drift, signal, fallback, recovery")
    )
    _signals(
        commands.add_parser("signals", help="what the daemon has told the world; approve, silence, audit")
    )
    return root


def _run(sub: argparse.ArgumentParser) -> None:
    sub.set_defaults(module="run")
    _config(sub)
    sub.add_argument(
        "--role", choices=("all", "shard", "judge"), default="all",
        help="all: one daemon (default); shard: count some partitions and tell the judge; judge: hear all shards",
    )  # fmt: skip


def _replay(sub: argparse.ArgumentParser) -> None:
    sub.set_defaults(module="replay")
    _config(sub)
    _events(sub)
    sub.add_argument(
        "--until", metavar="TIME", help="RFC 3339: read and seal no further than this event time"
    )
    sub.add_argument("--report", metavar="OUT.html", type=Path, help="write a page with plots here")
    sub.add_argument("--signals", metavar="OUT", help="write signals here (default: standard output)")
    sub.add_argument("--measurements", metavar="OUT", help="write every measurement here")
    sub.add_argument(
        "--dead-letters", metavar="OUT", type=Path, help="write unusable records here, with their reason"
    )
    sub.add_argument("--fail-on-signal", action="store_true", help="exit 1 if a signal fired")
    sub.add_argument("--json", action="store_true", help="print the summary as one JSON object")


def _baseline(sub: argparse.ArgumentParser) -> None:
    build = sub.add_subparsers(required=True, metavar="ACTION").add_parser(
        "build", help="from files of events"
    )
    build.set_defaults(module="baseline")
    _config(build)
    _events(build)
    build.add_argument("--deployment", required=True, metavar="NAME")
    build.add_argument("--out", required=True, type=Path, metavar="PATH")
    build.add_argument("--json", action="store_true")


def _check(sub: argparse.ArgumentParser) -> None:
    sub.set_defaults(module="check")
    _config(sub)
    sub.add_argument("--json", action="store_true")


def _evaluate(sub: argparse.ArgumentParser) -> None:
    sub.set_defaults(module="evaluate")
    _config(sub)
    _events(sub)
    sub.add_argument("--candidate", required=True, metavar="POLICY")
    sub.add_argument("--deployment", metavar="NAME", help="where the config has several")
    sub.add_argument(
        "--probabilities", metavar="FILE", type=Path,
        help='JSON lines {"decision_id", "p"[, "q", "v"]} for a candidate that the events do not name',
    )  # fmt: skip
    sub.add_argument(
        "--margin",
        type=float,
        default=0.0,
        metavar="X",
        help="by how much it must be better; below 0: may be worse",
    )
    sub.add_argument(
        "--cvar-floor",
        type=float,
        metavar="X",
        help="refused where the mean of its worst tenth may lie below this",
    )
    sub.add_argument("--record", metavar="FILE", type=Path, help="keep what came of predictions here")
    sub.add_argument("--report", metavar="OUT.html", type=Path, help="write a page with plots here")
    sub.add_argument("--json", action="store_true")


def _test_send(sub: argparse.ArgumentParser) -> None:
    sub.set_defaults(module="sending_test")
    _config(sub)
    sub.add_argument("--receiver", metavar="NAME", help="only this one, such as webhook-1 (default: all)")
    sub.add_argument("--json", action="store_true")


def _signals(sub: argparse.ArgumentParser) -> None:
    actions = sub.add_subparsers(required=True, metavar="ACTION", dest="action")
    for name, text in {
        "list": "what was told, newest last, and what waits",
        "ack": "say that somebody looks at an alert",
        "approve": "send a fallback or rollback that waits",
        "reject": "do not send it",
        "silence": "stop pages that match, never a fallback or rollback",
        "unsilence": "end a silence",
        "audit": "who said what, and what was withheld; works without a daemon",
    }.items():
        action = actions.add_parser(name, help=text)
        action.set_defaults(module="signals")
        _config(action)
        action.add_argument("--json", action="store_true")
        if name != "audit":
            action.add_argument(
                "--address", metavar="URL", help="of the daemon (default: http.host and http.port)"
            )
        if name in ("ack", "approve", "reject", "unsilence"):
            action.add_argument("id", metavar="ID", help="of the signal or silence")
        if name in ("ack", "approve", "reject", "silence", "unsilence"):
            action.add_argument("--by", metavar="NAME", help="who says so (default: the user's name)")
            action.add_argument("--why", metavar="TEXT", default="", help="needed for a silence")
    silence, audit = actions.choices["silence"], actions.choices["audit"]
    silence.add_argument("--match", metavar="NAME=VALUE", action="append", default=[], required=True,
                         help="deployment, policy, rule, stage or kind; all must match")  # fmt: skip
    silence.add_argument("--for", metavar="DURATION", dest="for_", required=True, help="such as 2h")
    audit.add_argument("--verify", action="store_true", help="check the chain; exit code 1 if it is broken")
    audit.add_argument(
        "--last", type=int, default=100, metavar="N", help="newest records (default: 100; -1: all)"
    )


def _events(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("events", nargs="*", metavar="EVENTS", help=".jsonl, .jsonl.gz or - for standard input")
    sub.add_argument(
        "--from-kafka", action="store_true", help="read the topics of the config instead, to their end"
    )


def _demo(sub: argparse.ArgumentParser) -> None:
    sub.set_defaults(module="demo")
    sub.add_argument("--kafka", metavar="HOST:PORT", help="a real broker (default: one in memory)")
    sub.add_argument("--seconds", type=float, metavar="N", help="of the live part (default: 40)")
    sub.add_argument("--out", type=Path, default=Path("demo-out"), metavar="DIR", help="report, logs, config")
    sub.add_argument(
        "--produce-only", action="store_true", help="only the traffic, for a daemon of your own; with --kafka"
    )
    sub.add_argument(
        "--seed", type=int, default=1, metavar="N", help="of the world, its readers and its policies"
    )
    sub.add_argument("--no-view", action="store_true", help="plain lines, on a terminal too")


def _config(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("-c", "--config", required=True, type=Path, metavar="FILE")


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, root: argparse.ArgumentParser, *_: Any) -> None:
        metadata = import_module("importlib.metadata")
        try:
            print(f"policywatch {metadata.version('policywatch')}")
        except metadata.PackageNotFoundError:
            print("policywatch (not installed)")
        root.exit()


if __name__ == "__main__":
    sys.exit(main())
