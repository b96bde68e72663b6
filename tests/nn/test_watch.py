import copy
import pickle

import pytest
import torch
from torch import nn

from gnnpot.nn.watch import Remembered, WeightWatch, kept_until_weights_change


@pytest.fixture(params=[True, False], ids=["trainable", "frozen"])
def network(request) -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1, bias=False)).requires_grad_(request.param)


def write_in_place(network):
    with torch.no_grad():
        network[0].bias[1] += 1.0


def give_other_memory(network):
    network[2].weight.data = network[2].weight.data.clone()


def exchange_parameter(network):
    network[0].weight = nn.Parameter(network[0].weight.detach().clone(), requires_grad=False)


def exchange_module(network):
    network[1] = nn.ReLU()


@pytest.mark.parametrize("change", [write_in_place, give_other_memory, exchange_parameter, exchange_module])
def test_sees_a_change(network, change):
    watch = WeightWatch(network)
    network(torch.zeros(2, 3))
    assert watch.sees_no_change()
    change(network)
    assert not watch.sees_no_change()
    assert WeightWatch(network).sees_no_change()


def test_sees_uncounted_writes_where_weights_are_trainable():
    layer = nn.Linear(2, 2)
    watch = WeightWatch(layer)
    layer.weight.data[0, 0] += 1.0
    assert not watch.sees_no_change()


def test_weights_made_in_inference_mode_are_compared():
    with torch.inference_mode():
        layer = nn.Linear(2, 2).requires_grad_(False)
        watch = WeightWatch(layer)
        assert watch.sees_no_change()
        layer.weight += 1.0
        assert not watch.sees_no_change()


def test_copies_are_blind(network):
    watch = WeightWatch(network)
    assert not copy.deepcopy(watch).sees_no_change()
    assert not pickle.loads(pickle.dumps(watch)).sees_no_change()


class Doubling(nn.Linear):
    @kept_until_weights_change
    def doubled(self):
        return 2.0 * self.weight.detach()

    @kept_until_weights_change
    def halved(self):
        return 0.5 * self.weight.detach()


def test_what_is_made_of_weights_is_kept_until_they_change():
    layers = [Doubling(1, 2).requires_grad_(False) for _ in range(2)]
    before = [(layer.doubled(), layer.halved()) for layer in layers]
    layers[0].weight += 1.0
    assert layers[1].doubled() is before[1][0]
    assert layers[1].halved() is before[1][1]
    torch.testing.assert_close(layers[0].doubled(), before[0][0] + 2.0)
    torch.testing.assert_close(layers[0].halved(), before[0][1] + 0.5)
    other = copy.deepcopy(layers[1])
    other.weight *= 3.0
    torch.testing.assert_close(other.doubled(), 3.0 * before[1][0])
    assert layers[1].doubled() is before[1][0]


@pytest.fixture
def remembered() -> Remembered:
    return Remembered()


def test_remembers_the_value_of_the_same_tensors(remembered):
    a, b = torch.ones(2), torch.ones(3)
    first = remembered.value((a, b), lambda: a.sum() + b.sum())
    assert remembered.value((a, b), pytest.fail) is first
    assert float(remembered.value((a, a), lambda: a.sum())) == 2.0
    assert float(remembered.value((a, b), lambda: a.sum() + b.sum())) == 5.0


@pytest.mark.parametrize(
    "write", [lambda t: t.add_(1.0), lambda t: t.zero_(), lambda t: t[:1].fill_(9.0)], ids=["add", "zero", "view"]
)
def test_a_write_is_seen(remembered, write):
    numbers = torch.tensor([1.0, 2.0])
    remembered.value((numbers,), lambda: numbers.clone())
    write(numbers)
    torch.testing.assert_close(remembered.value((numbers,), lambda: numbers.clone()), numbers)


def test_nothing_is_remembered_of_tensors_that_count_no_writes(remembered):
    with torch.inference_mode():
        numbers = torch.ones(2)
        remembered.value((numbers,), lambda: numbers.sum())
        numbers += 1.0
        assert float(remembered.value((numbers,), lambda: numbers.sum())) == 4.0


def test_a_failure_is_not_remembered(remembered):
    numbers = torch.ones(2)
    with pytest.raises(ZeroDivisionError):
        remembered.value((numbers,), lambda: 1 // 0)
    assert float(remembered.value((numbers,), lambda: numbers.sum())) == 2.0


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["copy", "pickle"])
def test_copies_remember_nothing(remembered, copied):
    numbers = torch.ones(2)
    remembered.value((numbers,), lambda: numbers.sum())
    assert float(copied(remembered).value((numbers,), lambda: numbers.sum() + 1.0)) == 3.0


def test_what_is_remembered_in_inference_mode_serves_a_differentiation(remembered):
    numbers, weights = torch.tensor([1.0, 2.0]), torch.ones(2, requires_grad=True)
    with torch.inference_mode():
        inside = remembered.value((numbers,), lambda: 2 * numbers)
    outside = remembered.value((numbers,), lambda: 2 * numbers)
    assert outside is inside
    (outside * weights).sum().backward()
    assert weights.grad is not None and weights.grad.tolist() == [2.0, 4.0]


def test_a_value_is_never_that_of_another_thread():
    """Another one asks for its own tensors at every moment at which the value for these is being kept."""
    mine, others, seen = torch.tensor([1.0]), torch.tensor([2.0]), []

    class Interrupted(Remembered):
        armed = False

        def __setattr__(self, name, value):
            object.__setattr__(self, name, value)
            if self.armed:
                object.__setattr__(self, "armed", False)
                seen.append(float(self.value((mine,), lambda: 10 * mine)))
                object.__setattr__(self, "armed", True)

    remembered = Interrupted()
    remembered.value((mine,), lambda: 10 * mine)
    object.__setattr__(remembered, "armed", True)
    assert float(remembered.value((others,), lambda: 10 * others)) == 20.0
    assert seen
    assert set(seen) == {10.0}
