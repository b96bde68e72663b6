import copy

import pytest
import torch

from gnnpot.training.averaging import WeightAverage


def test_average_follows_its_equation() -> None:
    module = torch.nn.Linear(1, 1, bias=False)
    average = WeightAverage(module, decay=0.5)
    expected = module.weight.item()
    for t in range(1, 20):
        with torch.no_grad():
            module.weight.fill_(float(t))
        average.update()
        decay = min(0.5, (1 + t) / (10 + t))
        expected = decay * expected + (1 - decay) * t
    with average.applied():
        assert module.weight.item() == pytest.approx(expected, rel=1e-6)
    assert module.weight.item() == 19.0


def test_weights_come_back_after_an_error() -> None:
    module = torch.nn.Linear(2, 2)
    before = copy.deepcopy(module.state_dict())
    average = WeightAverage(module, decay=0.9)
    with torch.no_grad():
        module.weight += 1.0
    with pytest.raises(ValueError, match="inside"), average.applied():
        raise ValueError("inside")
    assert torch.equal(module.weight, before["weight"] + 1.0)


def test_state_is_restored_bitwise() -> None:
    module = torch.nn.Linear(3, 2)
    average = WeightAverage(module, decay=0.9)
    average.update()
    twin = copy.deepcopy(module)
    restored = WeightAverage(twin, decay=0.9)
    restored.load_state_dict(average.state_dict())
    for each, weights in ((average, module), (restored, twin)):
        with torch.no_grad():
            weights.weight.mul_(2.0)
        each.update()
    assert restored.n_updates == 2
    with average.applied(), restored.applied():
        assert torch.equal(module.weight, twin.weight)
