"""The models that runs start from: their facts, and that they work on images of any common size."""

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest
import torch
from torch import nn

from sandbox.tasks import open_task

SEEDS = Path(__file__).parents[2] / "seeds"
TABLES = {path.parent.name: tomllib.loads(path.read_text()) for path in sorted(SEEDS.glob("*/seed.toml"))}
OWN = [name for name, table in TABLES.items() if table["task"]["name"] == "task.py"]
NAMES = [name for name in TABLES if name not in OWN]
"""Of the image classifiers."""
# Width and number of halvings after each stage of ExquisiteNetV2, in order.
STAGES = [
    ("FCT", 12, 1), ("DFSEB", 12, 1), ("EVE", 48, 2), ("DFSEB", 48, 2), ("ME", 96, 3), ("DFSEB", 96, 3),
    ("ME", 192, 4), ("DFSEB", 192, 4), ("ME", 384, 5), ("DFSEB", 384, 5), ("DW", 384, 5),
]  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def module(name):
    spec = importlib.util.spec_from_file_location(f"seed_{name}", SEEDS / name / "model.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def size(model):
    return sum(p.numel() for p in model.parameters())


@pytest.fixture
def exquisite():
    return module("exquisitenet_v2")


def test_there_are_the_seeds_that_the_documentation_names():
    assert NAMES == ["exquisitenet_v2", "tiny_cnn"]
    assert OWN == ["char_lm", "own_task"]


@pytest.mark.parametrize(
    ("name", "classes", "channels", "parameters"),
    [
        ("exquisitenet_v2", 10, 3, 518_230),
        ("exquisitenet_v2", 10, 1, 518_126),
        ("exquisitenet_v2", 100, 3, 518_230 + 90 * 385),
        ("tiny_cnn", 10, 1, 5_178),
        ("tiny_cnn", 10, 3, 5_178 + 2 * 16 * 9),
    ],
)
def test_the_number_of_parameters_is_exact(name, classes, channels, parameters):
    assert size(module(name).build_model(classes, channels)) == parameters


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("side", [8, 28, 32, 33, 48, 224])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_any_common_size_are_accepted(name, side, channels):
    torch.manual_seed(0)
    model = module(name).build_model(10, channels).eval()
    with torch.no_grad():
        logits = model(torch.randn(2, channels, side, side))
    assert logits.shape == (2, 10)
    assert logits.isfinite().all()
    assert not torch.equal(logits[0], logits[1])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("side", [8, 33])
def test_every_parameter_gets_a_gradient(name, side):
    torch.manual_seed(0)
    model = module(name).build_model(10, 3)
    nn.functional.cross_entropy(model(torch.randn(6, 3, side, side)), torch.arange(6)).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_judged_by_itself_in_eval_mode(name):
    torch.manual_seed(0)
    model = module(name).build_model(10, 1)
    images = torch.randn(9, 1, 8, 8)
    model(images)
    model.eval()
    with torch.no_grad():
        alone = torch.cat([model(image[None]) for image in images])
        torch.testing.assert_close(model(images), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_optimizer_lasts_for_its_steps_and_ends_with_a_small_rate(name):
    loaded = module(name)
    model = loaded.build_model(10, 1)
    optimizer, scheduler = loaded.build_optimizer(model, 20)
    rates = []
    for _ in range(20):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert {id(p) for group in optimizer.param_groups for p in group["params"]} == {id(p) for p in model.parameters()}
    assert 3 <= rates.index(max(rates)) <= 7  # a warm-up of 30 %
    assert rates[-1] < max(rates) / 50


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_optimizer_works_for_the_shortest_training(name, steps):
    loaded = module(name)
    optimizer, scheduler = loaded.build_optimizer(loaded.build_model(10, 1), steps)
    for _ in range(steps):
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize("name", NAMES)
def test_a_few_steps_learn_a_batch(name):
    torch.manual_seed(0)
    loaded = module(name)
    model = loaded.build_model(10, 1)
    optimizer, scheduler = loaded.build_optimizer(model, 20)
    images, labels = torch.randn(10, 1, 8, 8), torch.arange(10)
    losses = []
    for _ in range(20):
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("name", TABLES)
def test_seed_toml_opens_its_task(name, tmp_path):
    table = TABLES[name]
    task = open_task(table["task"], table["budget"], {}, tuple(table["seed"]["files"]), tmp_path, folder=SEEDS / name)
    assert set(table["objectives"]) <= set(task.objectives)
    assert all((SEEDS / name / file).is_file() for file in table["seed"]["files"])
    text = "".join((SEEDS / name / file).read_text() for file in table["seed"]["files"])
    assert all(re.search(rf"^(?:def|class) {block}\b", text, re.MULTILINE) for block in table["seed"]["frozen"])


def test_exquisitenet_has_the_papers_nine_blocks(exquisite):
    names = ["build_optimizer", "SE", "SELN", "DFSEB", "FCT", "EVE", "ME", "DW", "ExquisiteNetV2"]
    own = [n for n, v in vars(exquisite).items() if getattr(v, "__module__", None) == exquisite.__name__]
    assert own == [*names, "build_model"]


def test_exquisitenet_has_the_widths_and_sizes_of_its_fact_sheet(exquisite):
    x = torch.randn(2, 3, 224, 224)
    model = exquisite.build_model(10, 3).eval()
    with torch.no_grad():
        for stage, (kind, width, halvings) in zip(model.stages, STAGES, strict=True):
            x = stage(x)
            assert type(stage).__name__ == kind
            assert x.shape == (2, width, 224 >> halvings, 224 >> halvings)


def test_pools_of_exquisitenet_round_odd_sizes_up(exquisite):
    x = torch.randn(1, 12, 33, 33)
    assert exquisite.EVE(12, 48)(x).shape == exquisite.ME(12, 48)(x).shape == (1, 48, 17, 17)


def test_minimum_pooling_is_maximum_pooling_of_the_negative(exquisite):
    eve = exquisite.EVE(1, 2).eval()
    with torch.no_grad():
        eve.point.weight.copy_(torch.eye(2)[:, :, None, None])
        out = eve(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))
    torch.testing.assert_close(out.flatten(), torch.tensor([4.0, 1.0]), rtol=1e-4, atol=1e-4)


def test_convolutions_of_exquisitenet_have_biases_only_in_depthwise_ones_of_its_body(exquisite):
    model = exquisite.build_model(10, 3)
    for name, conv in model.named_modules():
        if isinstance(conv, nn.Conv2d):
            stem = name == "stages.0.depth"
            depthwise = conv.groups > 1
            assert (conv.bias is not None) == (depthwise and not stem), name
            assert depthwise == (conv.kernel_size != (1, 1)), name
    stem = model.stages[0].depth
    assert (stem.kernel_size, stem.stride, stem.padding, stem.groups) == ((4, 4), (2, 2), (1, 1), 3)


def test_exquisitenet_gates_by_layer_normalisation_and_keeps_the_classic_gate_as_an_option(exquisite):
    model = exquisite.build_model(10, 3)
    assert not any(isinstance(m, exquisite.SE) for m in model.modules())
    assert sum(isinstance(m, exquisite.SELN) for m in model.modules()) == 5
    assert not any(isinstance(m, nn.Linear) for m in exquisite.SELN(12).modules())
    classic = exquisite.DFSEB(12, gate=exquisite.SE)
    assert classic(torch.randn(2, 12, 8, 8)).shape == (2, 12, 8, 8)
    assert [tuple(p.shape) for p in classic.gate.parameters()] == [(4, 12), (12, 4)]


def test_the_block_of_exquisitenet_adds_its_input_at_its_end(exquisite):
    block = exquisite.DFSEB(12).eval()
    with torch.no_grad():
        block.depth2.weight.zero_()
        block.depth2.bias.zero_()
        x = torch.randn(2, 12, 8, 8)
        assert torch.equal(block(x), x)


def test_the_head_of_exquisitenet_drops_half_and_is_linear(exquisite):
    model = exquisite.build_model(10, 3)
    assert model.dropout.p == 0.5
    assert (model.head.in_features, model.head.out_features) == (384, 10)


def test_exquisitenet_trains_by_nesterov_momentum(exquisite):
    optimizer, _ = exquisite.build_optimizer(exquisite.build_model(10, 3), 10)
    group = optimizer.param_groups[0]
    assert isinstance(optimizer, torch.optim.SGD)
    # The schedule would change the momentum too, unless that is switched off.
    assert (group["momentum"], group["nesterov"], group["weight_decay"]) == (0.9, True, 1e-4)


@pytest.mark.parametrize("name", TABLES)
def test_each_seed_explains_itself(name):
    text = (SEEDS / name / "README.md").read_text()
    assert f"evolve run seeds/{name}" in text
    arguments = {"char_lm": (128,), "own_task": (10,)}.get(name, (10, 1))
    assert f"{size(module(name).build_model(*arguments)):,}" in text
    assert f"]({name}/README.md)" in (SEEDS / "README.md").read_text()
