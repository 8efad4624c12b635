import json
import math

import numpy as np
import pytest
import safetensors
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.tasks.common.weights import MAX_HEADER, BadWeights, StateLayout, canonical, describe

ITEM = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "U8": 1, "BOOL": 1, "C64": 8}
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def pack(tensors, **beside):
    """Safetensors by hand: name -> (type, shape, bytes); `beside` goes into the header."""
    header, data = dict(beside), b""
    for name, (kind, shape, value) in sorted(tensors.items(), key=lambda item: -ITEM[item[1][0]]):
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [len(data), len(data) + len(value)]}
        data += value
    return raw(json.dumps(header).encode(), data)


def raw(header, data=b""):
    return len(header).to_bytes(8, "little") + header + data


def layout_of(data, **norms):
    return StateLayout.read([*describe(data), *(f"norm {eps} {name}" for name, eps in norms.items())])


def count_parameters(state, **norms):
    return layout_of(safetensors.torch.save(state), **norms).parameters


def batch_norm(n, seed=0, *, affine=True):
    torch.manual_seed(seed)
    norm = torch.nn.BatchNorm2d(n, eps=1e-3, affine=affine)
    with torch.no_grad():
        for tensor in (*norm.parameters(), norm.running_mean):
            tensor.normal_()
        norm.running_var.uniform_(0.01, 5)
        norm.num_batches_tracked.fill_(77)
    return norm


def test_every_element_of_every_tensor_counts():
    state = {
        "a": torch.zeros(3, 4),
        "b": torch.zeros(()),
        "none": torch.zeros(0, 9),
        "flags": torch.zeros(5, dtype=torch.bool),
    }
    assert count_parameters(state) == 12 + 1 + 0 + 5


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        (torch.float64, 14), (torch.complex64, 14), (torch.float32, 7), (torch.bfloat16, 7), (torch.int64, 56),
        (torch.int32, 28), (torch.int8, 7), (torch.bool, 7),
    ],
)  # fmt: skip
def test_a_float_counts_by_32_bits_and_an_integer_by_its_bytes(kind, count):
    assert count_parameters({"x": torch.zeros(7, dtype=kind)}) == count


def test_statistics_of_a_true_normalisation_do_not_count():
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 6, 3), torch.nn.BatchNorm2d(6))
    assert count_parameters(model.state_dict(), **{"1": 1e-5}) == sum(p.numel() for p in model.parameters()) == 72


def test_statistics_that_were_not_announced_count():
    assert count_parameters(batch_norm(6).state_dict()) == 12 + 12 + 8


@pytest.mark.parametrize(
    "change",
    [
        {"weight": torch.zeros(7)},
        {"bias": torch.zeros(1)},
        {"running_mean": torch.zeros(6, 1)},
        {"running_var": torch.zeros(600)},
        {"running_mean": torch.zeros(6, dtype=torch.float64)},
        {name: torch.zeros(6, dtype=torch.float64) for name in ("weight", "bias", "running_mean", "running_var")},
        {name: torch.zeros(2, 3) for name in ("weight", "bias", "running_mean", "running_var")},
        {"num_batches_tracked": torch.zeros(50, dtype=torch.int64)},
        {"num_batches_tracked": torch.zeros(())},
        {"bias": None},
        {"weight": None},
        {"running_var": None},
    ],
    ids=lambda change: ", ".join(change),
)
def test_statistics_count_unless_all_is_as_in_a_true_normalisation(change):
    state = {name: t for name, t in {**batch_norm(6).state_dict(), **change}.items() if t is not None}
    elements = sum(t.numel() for t in state.values())
    assert count_parameters({f"n.{name}": t for name, t in state.items()}, n=1e-5) >= elements


@pytest.mark.parametrize("eps", ["nan", "inf", "-1", "1e400", "2", "1e-5 x", "--", "1_0"])
def test_an_impossible_eps_announces_nothing(eps):
    assert count_parameters({f"n.{k}": t for k, t in batch_norm(3).state_dict().items()}, n=eps) == 6 + 6 + 8


def test_folding_changes_no_output_of_a_normalisation():
    norm, other = batch_norm(16).eval(), batch_norm(16, seed=1).eval()
    data = safetensors.torch.save({f"n.{k}": t for k, t in norm.state_dict().items()})
    state = safetensors.torch.load(canonical(data, layout_of(data, n=norm.eps)))
    other.load_state_dict({name.removeprefix("n."): t for name, t in state.items()}, strict=True)
    images = torch.randn(4, 16, 5, 5)
    torch.testing.assert_close(other(images), norm(images), rtol=1e-5, atol=1e-5)
    assert not state["n.running_mean"].any()
    assert (state["n.running_var"] == 1).all()
    assert state["n.num_batches_tracked"] == 0


def test_a_model_loads_and_predicts_the_same_from_the_canonical_form():
    torch.manual_seed(0)
    layers = torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Flatten(), torch.nn.LazyLinear(4)
    model = torch.nn.Sequential(*layers)
    for _ in range(5):
        model(torch.randn(6, 3, 8, 8) * 3 + 1)
    images = torch.randn(7, 3, 8, 8)
    expected = model.eval()(images)
    data = safetensors.torch.save(model.state_dict())
    model.load_state_dict(safetensors.torch.load(canonical(data, layout_of(data, **{"1": 1e-5}))))
    torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-5)


def test_a_negative_variance_is_refused_as_nan():
    state = {f"n.{k}": t for k, t in batch_norm(3).state_dict().items()}
    state["n.running_var"] = torch.tensor([1.0, -1.0, 1.0])
    data = safetensors.torch.save(state)
    with pytest.raises(BadWeights, match=r"'n\.(weight|bias)' holds NaN"):
        canonical(data, layout_of(data, n=1e-5))


@pytest.mark.parametrize(
    ("after", "words"),
    [
        ({"x": np.zeros(3, "f4"), "y": np.zeros(1, "f4")}, "'y' is F32 [1] after training and was not there"),
        ({}, "'x' is not there after training and was F32 [3]"),
        ({"x": np.zeros((1, 3), "f4")}, "'x' is F32 [1, 3] after training and was F32 [3]"),
        ({"x": np.zeros(3, "i4")}, "'x' is I32 [3] after training and was F32 [3]"),
    ],
)
def test_other_tensors_than_announced_are_refused(after, words):
    layout = layout_of(safetensors.numpy.save({"x": np.zeros(3, "f4")}))
    with pytest.raises(BadWeights) as error:
        canonical(safetensors.numpy.save(after), layout)
    assert words in str(error.value)


def test_a_state_of_no_tensors_is_refused():
    with pytest.raises(BadWeights):
        canonical(raw(b"{}"), StateLayout({}))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00" * 7,
        raw(b""),
        raw(b"null"),
        raw(b"{" * 5000),
        raw(b"\xff\xfe"),
        b"\xff" * 8 + b"{}",
        (MAX_HEADER + 1).to_bytes(8, "little") + b"{}".ljust(MAX_HEADER + 1),
        raw(b'{"x":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}', bytes(11)),
        raw(b'{"x":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}', bytes(13)),
        raw(b'{"x":{"dtype":"F32","shape":[3],"data_offsets":[12,0]}}', bytes(12)),
        raw(b'{"x":{"dtype":"F32","shape":[3],"data_offsets":[4,16]}}', bytes(16)),
        raw(b'{"x":{"dtype":"F32","shape":[-3],"data_offsets":[0,12]}}', bytes(12)),
        raw(b'{"x":{"dtype":"F99","shape":[3],"data_offsets":[0,12]}}', bytes(12)),
        raw(b'{"x":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}'),
        raw(
            b'{"x":{"dtype":"F32","shape":[3],"data_offsets":[0,12]},"y":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}',
            bytes(12),
        ),
    ],
    ids=lambda data: f"{len(data)} bytes",
)
def test_hostile_bytes_are_refused(data):
    with pytest.raises(BadWeights):
        canonical(data, StateLayout({"x": ("F32", (3,))}))


def test_nothing_beside_the_values_gets_through():
    tensors = {"x": ("F32", [3], b"abcdefghijkl"), "y": ("F32", [1], b"mnop")}
    plain = pack(tensors)
    layout = layout_of(plain)
    loud = pack(tensors, __metadata__={"secret": "s" * 1000})
    header = plain[8 : 8 + int.from_bytes(plain[:8], "little")]
    spaced = raw(header.replace(b",", b", \n\t ") + b" " * 64, plain[8 + len(header) :])
    turned = json.loads(header)
    for name, offsets in (("y", [0, 4]), ("x", [4, 16])):
        turned[name]["data_offsets"] = offsets
    moved = raw(json.dumps(turned).encode(), b"mnopabcdefghijkl")
    assert canonical(plain, layout) == canonical(loud, layout) == canonical(spaced, layout) == canonical(moved, layout)


def test_lines_that_announce_nonsense_are_passed_over():
    lines = [
        "tensor F32 2x3 a b",
        "tensor F99 1 x",
        "tensor F32 -1 x",
        "tensor F32 1x x",
        "norm x y",
        "hello",
        "",
        "tensor",
    ]
    assert StateLayout.read([*lines, "tensor F32 - s", "tensor F32 9 "]) == StateLayout(
        {"a b": ("F32", (2, 3)), "s": ("F32", ()), "": ("F32", (9,))}
    )


NAMES = st.sampled_from(
    ["x", "n.weight", "n.bias", *(f"n.{s}" for s in STATISTICS), "weight", "bias", *STATISTICS, "m.running_mean", "é\n"]
)
SHAPES = st.one_of(st.just([]), st.just([4]), st.lists(st.integers(0, 5), max_size=3))


@st.composite
def states(draw):
    """name -> (type, shape, bytes)"""
    state = {}
    for name in draw(st.lists(NAMES, min_size=1, unique=True)):
        kind, shape = draw(st.sampled_from([*ITEM, "F32", "F32", "F32"])), draw(SHAPES)
        size = math.prod(shape) * ITEM[kind]
        state[name] = kind, shape, draw(st.binary(min_size=size, max_size=size))
    if draw(st.booleans()):  # what is foldable would hardly come about by chance
        for part in ("weight", "bias", "running_mean", "running_var"):
            state[f"n.{part}"] = "F32", [4], draw(st.binary(min_size=16, max_size=16))
        state["n.num_batches_tracked"] = "I64", [], draw(st.binary(min_size=8, max_size=8))
    return state


@given(states())
def test_no_element_can_hide_without_an_announced_normalisation(state):
    layout = layout_of(pack(state))
    elements = sum(math.prod(shape) for _, shape, _ in state.values())
    size = sum(len(value) for *_, value in state.values())
    assert layout.parameters >= elements
    assert 4 * layout.parameters >= size


def numbers(kind, data):
    """The values of a float type as float64; zeros for other types."""
    if kind == "BF16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    kinds = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "C64": "<f4"}
    return np.frombuffer(data, kinds[kind]) if kind in kinds else np.zeros(1)


@given(states(), st.sets(st.sampled_from(["n", "m", "", "x"])), st.floats(0, 1e-2))
def test_whatever_is_announced_what_reaches_prediction_is_counted(state, norms, eps):
    data = pack(state)
    layout = layout_of(data, **{name: repr(eps) for name in norms})
    why = ""
    try:
        out = canonical(data, layout)
    except BadWeights as refused:
        why = str(refused)
    if why:
        assert "NaN or infinite" in why
        finite = all(np.isfinite(numbers(kind, value)).all() for kind, _, value in state.values())
        assert not finite or layout.folds  # folding divides by the variance, which may be nothing
        return
    kept = dict(safetensors.deserialize(out))
    assert {name: (t["dtype"], list(t["shape"])) for name, t in kept.items()} == {
        name: (kind, shape) for name, (kind, shape, _) in state.items()
    }
    free = {f"{name}.{part}" for name in layout.folds for part in STATISTICS} & kept.keys()
    assert 4 * layout.parameters >= sum(len(t["data"]) for name, t in kept.items() if name not in free)
    # What is free holds constants; with other values of the same layout all but the counted bytes are the same.
    zeros = pack({name: (kind, shape, bytes(len(value))) for name, (kind, shape, value) in state.items()})
    try:
        other = canonical(zeros, layout)
    except BadWeights:
        assert layout.folds and eps < 1e-30  # folding divides by the variance, which is nothing here
        return
    assert other[: len(out) - sum(len(t["data"]) for t in kept.values())] == out[: len(out) - sum(map(size_of, kept.values()))]
    again = dict(safetensors.deserialize(other))
    assert all(kept[name]["data"] == again[name]["data"] for name in free)
    affine = {f"{name}.{part}" for name in layout.folds for part in ("weight", "bias")}
    assert all(bytes(t["data"]) == state[name][2] for name, t in kept.items() if name not in free | affine)


def size_of(tensor):
    return len(tensor["data"])


@given(st.integers(0, 5), st.integers(1, 8), st.integers(0, 40))
def test_only_true_statistics_are_left_out_of_the_count(extra, channels, hidden):
    state = {f"n.{k}": t for k, t in batch_norm(channels).state_dict().items()}
    state |= {f"extra{i}.running_mean": torch.zeros(hidden) for i in range(extra)}
    assert count_parameters(state, n=1e-5) == 2 * channels + extra * hidden


@settings(max_examples=300)
@given(st.data())
def test_mutated_bytes_are_refused_or_give_the_announced_layout(data):
    valid = pack({"x": ("F32", [3], bytes(range(12))), "n": ("I64", [], bytes(8))})
    layout = layout_of(valid)
    bad = bytearray(valid)
    for _ in range(data.draw(st.integers(1, 4))):
        bad[data.draw(st.integers(0, len(bad) - 1))] = data.draw(st.integers(0, 255))
    try:
        out = canonical(bytes(bad), layout)
    except BadWeights:
        return
    assert layout_of(out) == layout
    assert len(out) == len(canonical(valid, layout))


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data):
    with pytest.raises(BadWeights):
        canonical(data, StateLayout({"x": ("F32", (3,))}))


@pytest.mark.parametrize(
    ("shapes", "parts"),
    [
        ({"stem.weight": 30, "head.weight": 50, "head.bias": 20}, {"head.weight": 50, "stem": 30, "head.bias": 20}),
        ({"net.0.weight": 60, "net.1.a.weight": 25, "net.1.b": 5, "scale": 10}, {"net.0": 60, "net.1": 30, "scale": 10}),
        ({"net.weight": 90, "net.bias": 10}, {"net.weight": 90, "net.bias": 10}),
        ({"only": 7}, {"only": 7}),
        ({f"p{n:02}": n + 1 for n in range(20)}, {f"p{n:02}": n + 1 for n in range(19, 9, -1)}),
    ],
)
def test_the_parts_of_a_model_are_told_the_largest_one_by_its_own_parts(shapes, parts):
    layout = StateLayout({name: ("F32", (count,)) for name, count in shapes.items()})
    assert list(layout.parts().items()) == list(parts.items())


def test_parts_count_buffers_as_the_whole_count_does():
    layout = StateLayout({"net.weight": ("F32", (10,)), "table": ("I64", (5,))})
    assert layout.parts() == {"table": 40, "net": 10} and sum(layout.parts().values()) == layout.parameters
