import numpy as np
import pytest

from gnnpot.apps.agreement import response_disagreement
from gnnpot.errors import PropertyNotAvailableError
from tests.contract.conftest import rattled, trained_like
from tests.contract.test_heads import born, with_head


def test_disagreement_of_two_heads():
    first, second = with_head("hdnnp", "polarization"), with_head("hdnnp", "born_tensor")
    frames = [rattled(seed=1), rattled((2, 1, 1), seed=2)]
    frames[1].positions[2] += 0.7
    found = response_disagreement(first, second, frames)
    for frame, one in zip(frames, found, strict=True):
        expected = np.sqrt(np.square(born(first, frame) - born(second, frame)).mean(axis=(1, 2)))
        np.testing.assert_allclose(one["disagreement"], expected, atol=1e-10)
        assert one["rms"] == pytest.approx(np.sqrt(np.mean(expected**2)))
    everything = np.concatenate([one["disagreement"] for one in found])
    flagged = sum(len(one["suspects"]) for one in found)
    assert flagged == int((everything > 3 * np.median(everything)).sum())
    assert response_disagreement(first, first, frames)[0]["rms"] == 0.0


def test_models_without_a_head_are_refused():
    with pytest.raises(PropertyNotAvailableError, match="two models with response heads"):
        response_disagreement(with_head("hdnnp", "born_tensor"), trained_like("hdnnp"), [rattled()])
