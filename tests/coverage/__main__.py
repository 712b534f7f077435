"""`make coverage`: coverage of every interval of off-policy evaluation, 1,000 simulations of each of 17 worlds.

ARGS="200 heavy rare" runs fewer, of the worlds that begin so. Prints, for each world and interval, the share of
simulations in which it was published and, of those, in which it held the truth (95 % nominal). Exit code 1 where an
interval holds it less often than that by three Monte Carlo errors.
"""

import os
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

NOMINAL = 0.95
ERRORS = 3.0


def main() -> int:
    """All worlds, or those that are named."""
    from tests.coverage.worlds import cover, settings

    simulations, *wanted = sys.argv[1:] or ["1000"]
    low: list[str] = []
    for setting in settings():
        if wanted and not any(setting.name.startswith(name) for name in wanted):
            continue
        n = int(simulations)
        print(f"{setting.name}: value {setting.value:.4g}, {n} simulations")
        for name, (published, held) in cover(setting, n).items():
            share = held / published if published else float("nan")
            error = (NOMINAL * (1 - NOMINAL) / published) ** 0.5 if published else float("nan")
            print(
                f"  {name:<28} published {published / n:5.1%}  covered {share:.4f} ± {error:.4f}", flush=True
            )
            if share < NOMINAL - ERRORS * error:
                low.append(f"{setting.name}: {name} {share:.4f}")
    print("below nominal: " + ("; ".join(low) or "none"))
    return int(bool(low))


if __name__ == "__main__":
    sys.exit(main())
