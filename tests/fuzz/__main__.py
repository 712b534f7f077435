"""`make fuzz SECONDS=60`: atheris looks for bytes that break a promise, so long for each target; findings are kept."""

import importlib.util
import re
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path

from tests.fuzz.seeds import CORPUS, REGRESSIONS, seeds
from tests.fuzz.targets import TARGETS
from tests.paths import ROOT

WORK = ROOT / ".cache" / "fuzz"
BOUNDS = ("-max_len=1048576", "-timeout=30", "-rss_limit_mb=2048", "-print_final_stats=1", "-verbosity=0")


def main() -> int:
    """1 when something was found."""
    parser = ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--target", action="append", choices=sorted(TARGETS), help="only these")
    arguments = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        print(
            "fuzz: skipped, there is no atheris for this Python and machine (CPython 3.11 to 3.13, Linux, x86-64)"
        )
        return 0
    found = [
        path for name in arguments.target or sorted(TARGETS) for path in _fuzzed(name, arguments.seconds)
    ]
    for path in found:
        print(f"fuzz: broke a promise, kept as {path.relative_to(ROOT)}")
    return 1 if found else 0


def _fuzzed(target: str, seconds: int) -> list[Path]:
    """Runs the target from its seeds and from what earlier runs have found interesting; returns new findings, kept."""
    corpus, findings = WORK / target / "corpus", WORK / target / "findings"
    for folder in (corpus, findings):
        folder.mkdir(parents=True, exist_ok=True)
    for old in findings.iterdir():
        old.unlink()
    for name, data in seeds(target).items():
        (corpus / f"seed-{name}").write_bytes(data)
    dictionary = CORPUS / f"{target}.dict"
    words = [f"-dict={dictionary}"] if dictionary.exists() else []
    command = [sys.executable, "-m", "tests.fuzz.one", target, str(findings), str(corpus), *BOUNDS, *words]
    done = subprocess.run(
        [*command, f"-max_total_time={seconds}", f"-artifact_prefix={findings}/"],
        cwd=ROOT, check=False, stderr=subprocess.PIPE, text=True, errors="replace",
    )  # fmt: skip
    stats = dict(re.findall(r"^stat::(\w+): *(\d+)", done.stderr, flags=re.MULTILINE))
    runs, peak = stats.get("number_of_executed_units", "?"), stats.get("peak_rss_mb", "?")
    size = sum(1 for _ in corpus.iterdir())
    print(f"{target}: {runs} runs, {size} inputs kept, peak {peak} MB, exit {done.returncode}", flush=True)
    bad = sorted(path for path in findings.iterdir() if path.name.startswith(("crash-", "slow-")))
    if done.returncode and not bad:  # killed, out of memory or never ending
        bad = [(findings / "running").rename(findings / "killed-0")]
    if bad:
        print("\n".join(line for line in done.stderr.splitlines() if not line.startswith("INFO:")))
    return [_kept(target, path) for path in bad]


def _kept(target: str, finding: Path) -> Path:
    place = REGRESSIONS / target / finding.name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(finding.read_bytes())
    return place


if __name__ == "__main__":
    sys.exit(main())
