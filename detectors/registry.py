"""Every detector, one line each; adding one is a file, a line here and a test file."""

from detectors.action_answers import ACTION_ANSWERS
from detectors.action_mix import ACTION_MIX
from detectors.clusters import CLUSTERS
from detectors.costs import COSTS
from detectors.critic import CRITIC
from detectors.critic_groups import CRITIC_GROUPS
from detectors.latency import LATENCY
from detectors.metrics import METRICS
from detectors.protocol import Spec
from detectors.proxy import PROXY
from detectors.reward import REWARD
from detectors.state_kl import STATE_KL
from detectors.state_mmd import STATE_MMD
from detectors.state_moments import STATE_MOMENTS
from detectors.state_quality import STATE_QUALITY
from detectors.unit_vectors import UNIT_VECTORS
from detectors.violations import VIOLATIONS

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
