"""Every detector, one line each; adding one is a file, a line here and a test file."""

from detectors.actions.answers import ACTION_ANSWERS
from detectors.actions.mix import ACTION_MIX
from detectors.actions.violations import VIOLATIONS
from detectors.budgets.costs import COSTS
from detectors.budgets.latency import LATENCY
from detectors.critic.critic import CRITIC
from detectors.critic.groups import CRITIC_GROUPS
from detectors.features.moments import STATE_MOMENTS
from detectors.protocol import Spec
from detectors.rewards.metrics import METRICS
from detectors.rewards.proxy import PROXY
from detectors.rewards.reward import REWARD
from detectors.states.kl import STATE_KL
from detectors.states.mmd import STATE_MMD
from detectors.states.quality import STATE_QUALITY
from detectors.units.clusters import CLUSTERS
from detectors.units.vectors import UNIT_VECTORS

REGISTRY: tuple[Spec, ...] = (
    REWARD,
    COSTS,
    VIOLATIONS,
    STATE_QUALITY,
    STATE_KL,
    STATE_MMD,
    STATE_MOMENTS,
    ACTION_MIX,
    ACTION_ANSWERS,
    CRITIC,
    CRITIC_GROUPS,
    PROXY,
    LATENCY,
    METRICS,
)

# what a baseline counts: the same, and how far units make its means, states and actions stray
GATHERED: tuple[Spec, ...] = (*REGISTRY, CLUSTERS, UNIT_VECTORS)
