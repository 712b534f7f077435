"""Names as small integers: bounded tables of labels, the same after a restart."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from detectors.critic.packed_segments import CODES

OTHER = "(other)"
STAGES = 16  # with `(other)`; a key is policy code * STAGES + stage code, so a 17th would be another policy's


@dataclass(slots=True)
class Labels:
    """Label -> code in the order of first sight; past the limit every new label is `(other)`, counted."""

    limit: int
    names: list[str] = field(default_factory=list)
    codes: dict[str, int] = field(default_factory=dict)
    dropped: int = 0

    def code(self, label: str) -> int:
        """The code of a label, a new one if there is room."""
        known = self.codes.get(label)
        if known is not None:
            return known
        if len(self.names) >= self.limit and label != OTHER:
            self.dropped += 1
            return self.code(OTHER)
        self.codes[label] = len(self.names)
        self.names.append(label)
        return self.codes[label]

    def extend(self, labels: Iterable[str]) -> None:
        """Give codes to labels in the order given."""
        for label in labels:
            self.code(label)


@dataclass(slots=True)
class Vocabulary:
    """All tables of labels of one process; part of the checkpoint, since codes live in the state.

    deployments: codes are the order in the config. actions: one table per deployment. state_width: features per
    deployment, fixed by the baseline or by the first decision seen; action_width: the same for continuous actions.
    segments: one table per segment name; segment_values: `name=value`, one table per deployment, in the order of event
    time. names: which costs, components, segments, candidates and actions of shadows' distributions have a column.
    """

    deployments: Labels
    policies: Labels = field(default_factory=lambda: Labels(5_000))
    stages: Labels = field(default_factory=lambda: Labels(STAGES - 1))
    metrics: Labels = field(default_factory=lambda: Labels(1_000))
    partitions: Labels = field(default_factory=lambda: Labels(30_000))
    actions: dict[int, Labels] = field(default_factory=dict)
    segments: dict[str, Labels] = field(default_factory=dict)
    segment_values: dict[int, Labels] = field(default_factory=dict)
    state_width: dict[int, int] = field(default_factory=dict)
    action_width: dict[int, int] = field(default_factory=dict)
    names: dict[str, Labels] = field(default_factory=dict)
    action_limit: int = 20_000
    name_limit: int = 32
    candidate_limit: int = 256  # versions come and go; how many are judged at a time is bounded elsewhere
    probs_limit: int = 256  # actions of one distribution

    def action_labels(self, deployment: int) -> Labels:
        """The action table of a deployment."""
        return self.actions.setdefault(deployment, Labels(self.action_limit))

    def segments_of(self, deployment: int) -> Labels:
        """The table of `name=value` of a deployment; its codes fit a byte."""
        return self.segment_values.setdefault(deployment, Labels(CODES - 1))

    def segment_labels(self, name: str, limit: int) -> Labels:
        """The table of one segment's values."""
        return self.segments.setdefault(name, Labels(limit))

    def column_names(self, what: str, deployment: int | None = None) -> Labels:
        """The names that have a column of their own, such as the costs of a deployment."""
        key = what if deployment is None else f"{what}/{deployment}"
        limit = {"candidates": self.candidate_limit, "probs": self.probs_limit}.get(what, self.name_limit)
        return self.names.setdefault(key, Labels(limit))
