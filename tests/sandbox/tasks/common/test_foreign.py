"""Foreign weights: the same tensors with nothing left in them of what was learned."""

import numpy as np
import pytest
import torch
from safetensors.torch import load

from sandbox.tasks.common.foreign import chance, foreign_weights
from sandbox.tasks.common.state import describe, serialise
from sandbox.tasks.common.weights import StateLayout, canonical

TYPES = [
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.complex64,
    torch.float8_e4m3fn,
    torch.int8,
    torch.int64,
]


@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_each_tensor_keeps_its_type_its_shape_and_its_values_but_for_order_and_sign(kind):
    values = torch.arange(1, 61).float() / 4 if kind != torch.float8_e4m3fn else torch.tensor([2.0**i for i in range(-5, 7)] * 5)
    data = serialise({"a": values.to(kind).view(3, 20), "b": torch.zeros(0), "c": torch.tensor(True)})
    state = canonical(data, StateLayout.read(describe(data)))
    mixed = load(foreign_weights(state, np.random.default_rng(0)))["a"]
    assert (mixed.dtype, mixed.shape) == (kind, (3, 20))
    was, now = (torch.view_as_real(t).flatten() if t.is_complex() else t.flatten() for t in (load(data)["a"], mixed))
    assert sorted(now.double().abs().tolist()) == sorted(was.double().abs().tolist())
    assert (was.double() != now.double()).double().mean() > 0.6
    if kind.is_floating_point or kind.is_complex:
        assert 0 < (now.double() < 0).sum() < len(now)


def test_the_same_random_numbers_give_the_same_weights():
    state = serialise({"a": torch.randn(50)})
    one, again, other = (foreign_weights(state, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert one == again != other


def test_chance_is_the_most_frequent_class_and_three_of_its_standard_errors():
    assert chance(np.repeat([0, 1], [75, 25])) == pytest.approx(0.75 + 3 * (0.75 * 0.25 / 100) ** 0.5)
