import numpy as np
import pytest

from gnnpot.nn.activation_kernels import shifted_softplus_and_slope


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-7), (np.float64, 1e-15)])
def test_against_the_formula_in_higher_precision(dtype, tolerance):
    x = np.concatenate([np.linspace(-100.0, 100.0, 2001), [0.0, -0.0, 1e4, -1e4, 1e-30]]).astype(dtype)[None]
    values, slopes = np.empty_like(x), np.empty_like(x)
    shifted_softplus_and_slope(x, values, slopes)
    exact = x.astype(np.longdouble)
    expected = np.logaddexp(exact, 0) - np.log(np.longdouble(2))
    np.testing.assert_allclose(values, expected.astype(dtype), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(slopes, (1 / (1 + np.exp(-exact))).astype(dtype), rtol=0, atol=tolerance)


def test_what_is_not_a_number_stays_so():
    x = np.full((1, 9), np.nan)
    values, slopes = np.empty_like(x), np.empty_like(x)
    shifted_softplus_and_slope(x, values, slopes)
    assert np.isnan(values).all()
    assert np.isnan(slopes).all()
