import numpy as np
import pytest

from gnnpot.apps.thermo import slope_after_first_tenth


def test_slope_is_that_of_a_line_and_leaves_out_the_start():
    time = np.linspace(0.0, 10.0, 101)
    energy = -5.0 + 3e-4 * time
    energy[:10] += 1.0
    assert slope_after_first_tenth(time, energy) == pytest.approx(0.3)


def test_no_slope_of_too_few_or_unknown_energies():
    assert slope_after_first_tenth([], []) is None
    assert slope_after_first_tenth([0.0, 1.0], [1.0, 1.0]) is None
    assert slope_after_first_tenth([0.0, 1.0, 2.0, 3.0], [1.0, 1.0, np.nan, 1.0]) is None
