"""How often Python looks for reference cycles: seldom, since a poll makes many containers and none is in a cycle."""

import gc

CONTAINERS = (
    100_000  # more lists and dicts than one poll of decisions holds; cycles wait until so many have gathered
)


def collect_rarely() -> None:
    """Raise the collector's first threshold, for the whole process: called by the command line, before a command."""
    _, middle, oldest = gc.get_threshold()
    gc.set_threshold(CONTAINERS, middle, oldest)
