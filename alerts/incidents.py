"""Hard constraint violations as incidents of event time: one event opens one, quiet closes it."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Incident:
    """Violations of one key with gaps shorter than the quiet time.

    opened_ms names it in every signal: the start of the quiet-long slot of time in which it opened, so that partitions
    read in another order name it alike (but for first events on both sides of a slot's edge). Two incidents of a key
    are further apart than a slot is long.
    """

    opened_ms: int
    first_ms: int
    last_ms: int
    events: int


@dataclass(frozen=True, slots=True)
class Incidents:
    """Open incidents of one key, oldest first."""

    open: tuple[Incident, ...] = ()


def witness(incidents: Incidents, ts_ms: int, quiet_ms: int) -> tuple[Incidents, Incident | None]:
    """The incidents after a violation at `ts_ms`, and the new incident if it opened one.

    Only event time decides, so the polls in which the violations arrived do not matter: one that comes exactly when the
    incident has been quiet for long enough opens the next, whether the seal that ends the first was before it or not.
    """
    for i, incident in enumerate(incidents.open):
        if incident.first_ms - quiet_ms < ts_ms < incident.last_ms + quiet_ms:
            grown = replace(incident, first_ms=min(incident.first_ms, ts_ms), last_ms=max(incident.last_ms, ts_ms),
                            events=incident.events + 1)  # fmt: skip
            return replace(incidents, open=(*incidents.open[:i], grown, *incidents.open[i + 1 :])), None
    opened = Incident(ts_ms - ts_ms % quiet_ms, ts_ms, ts_ms, 1)
    return Incidents((*incidents.open, opened)), opened


def settle(incidents: Incidents, now_ms: int, quiet_ms: int) -> tuple[Incidents, list[Incident]]:
    """The incidents after a seal at `now_ms`, and those that have been quiet long enough to end."""
    ended = [incident for incident in incidents.open if incident.last_ms + quiet_ms <= now_ms]
    if not ended:
        return incidents, []
    return replace(incidents, open=tuple(i for i in incidents.open if i not in ended)), ended
