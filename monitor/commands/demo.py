"""`policywatch demo`: the closed loop on this machine, shown while it runs and reported when it has ended."""

import signal
import sys
import threading
from argparse import Namespace
from pathlib import Path
from types import FrameType

from rich.console import Console

from monitor.demo.conductor import DemoFailed, Play, perform
from monitor.demo.memory_broker import MemoryBrokerError
from monitor.demo.produce import produce_only
from monitor.demo.recording import Recording, save_recording
from monitor.demo.report import write_report
from monitor.demo.site import Site, make_site
from monitor.demo.timeline import after_text, timeline
from monitor.demo.view import LiveView, PlainLines
from monitor.demo.webhook_desk import DeskError
from monitor.exit_codes import FINDING, FINE, UNREACHABLE, USAGE
from monitor.kafka.kafka_source import SourceError


def run(arguments: Namespace) -> int:
    """0 only where the loop closed; 1 says what went wrong and where to look, 3 that something needed is missing."""
    if arguments.produce_only and not arguments.kafka:
        print("policywatch: --produce-only needs --kafka HOST:PORT", file=sys.stderr)
        return USAGE
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)
    site = make_site(arguments.out)
    try:
        if arguments.produce_only:
            return produce_only(site, arguments.kafka, arguments.seed, arguments.seconds)
        return _perform(
            Play(site, arguments.seed, arguments.seconds or 40.0, arguments.kafka or ""), arguments
        )
    except (SourceError, MemoryBrokerError, DeskError) as error:
        print(f"policywatch: {error}", file=sys.stderr)
        return UNREACHABLE
    except DemoFailed as error:
        print(f"policywatch: the demo failed: {error}", file=sys.stderr)
        print(f"policywatch: logs are in {_shown(site.folder)}", file=sys.stderr)
        return FINDING


def _perform(play: Play, arguments: Namespace) -> int:
    console = Console()
    live = console.is_terminal and not arguments.no_view
    audience = LiveView(console) if live else PlainLines(sys.stdout)
    try:
        recording = perform(play, audience)
    finally:
        audience.close()
    save_recording(recording, play.site.recording)
    write_report(recording, play.site.report)
    _tell(recording, play.site)
    return FINDING if recording.missing() else FINE


def _tell(recording: Recording, site: Site) -> None:
    print()
    for step in timeline(recording):
        after = after_text(step.after_ms) if step.after_ms is not None else ""
        print(f"  {after:>7}  {step.words}")
    if recording.act is not None:
        print(f"\n  {recording.act.data['reason']}")
    print(
        f"\n  reward {recording.mean_before():.2f} before, {recording.mean_fallen():.2f} after the change, "
        f"{recording.mean_fallback():.2f} with the fallback: {recording.regained():.0%} of what was lost"
    )
    for missing in recording.missing():
        print(
            f"\nThe loop did not close: {missing}. Logs: {_shown(site.daemon_log)}, {_shown(site.serving_log)}"
        )
    print(f"\nReport: {_shown(site.report)}")


def _shown(path: Path) -> str:
    """Relative to where we are, where that is shorter."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Leave as after Ctrl-C, so that nothing stays behind."""
    raise KeyboardInterrupt
