"""Every bandit estimator, in the order of a report."""

from detectors.ope.bandit.clipped import ClippedIs
from detectors.ope.bandit.direct import DirectMethod
from detectors.ope.bandit.doubly_robust import DoublyRobust
from detectors.ope.bandit.estimator import BanditEstimator
from detectors.ope.bandit.ips import Ips
from detectors.ope.bandit.self_normalised_dr import SelfNormalisedDr
from detectors.ope.bandit.snips import Snips
from detectors.ope.bandit.switch_dr import SwitchDr


def bandit_estimators(clip: float, switch: float) -> tuple[BanditEstimator, ...]:
    """clip, switch: the weights where clipped IS clips and switch-DR switches."""
    return (
        Ips(),
        Snips(),
        ClippedIs(clip),
        DirectMethod(),
        DoublyRobust(),
        SelfNormalisedDr(),
        SwitchDr(switch),
    )
