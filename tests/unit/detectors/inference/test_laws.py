"""The laws are those of scipy.stats, without its checks."""

import numpy as np
import pytest
from scipy import stats

from detectors.inference.laws import chi2_density


@pytest.mark.parametrize("dof", [0.7, 2.0, 17.5])
def test_the_chi_square_density_is_that_of_scipy(dof: float) -> None:
    x = np.linspace(0.1, 200.0, 500)
    assert chi2_density(x, dof) == pytest.approx(stats.chi2.pdf(x, dof), rel=1e-13)
    assert chi2_density(-1.0, dof) == 0.0
