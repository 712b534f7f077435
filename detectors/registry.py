"""Every detector, one line each; adding one is a file, a line here and a test file."""

from detectors.protocol import Spec
from detectors.state_kl import STATE_KL
from detectors.state_mmd import STATE_MMD

REGISTRY: tuple[Spec, ...] = (STATE_KL, STATE_MMD)
