"""What a recipe changes in a training: its images, rates and weights, and its description in prompts."""

import numpy as np
import pytest
import torch

from sandbox.sandbox import TaskError
from sandbox.tasks.image_classification.training.augmentation import coloured, moved
from sandbox.tasks.image_classification.training.averaging import Average
from sandbox.tasks.image_classification.training.images import View, mapped
from sandbox.tasks.image_classification.training.recipe import TrainingRecipe
from sandbox.tasks.image_classification.training.schedules import rates_of


def drawn():
    return torch.Generator().manual_seed(3)


@pytest.fixture
def images():
    return torch.rand((64, 3, 10, 8), generator=drawn()) + 0.5  # nowhere 0, which is what comes in from outside


def test_about_half_of_the_images_are_mirrored_and_the_others_left(images):
    found = moved(images, TrainingRecipe(flip=0.5), drawn())
    flipped = [bool((a == b.flip(-1)).all()) for a, b in zip(found, images, strict=True)]
    same = [bool((a == b).all()) for a, b in zip(found, images, strict=True)]
    assert all(a != b for a, b in zip(flipped, same, strict=True))
    assert 20 < sum(flipped) < 44


def test_a_shifted_image_is_the_old_one_moved_by_whole_pixels_with_the_mean_colour_coming_in(images):
    found = moved(images, TrainingRecipe(translate=0.2), drawn())
    offsets = set()
    for old, new in zip(images, found, strict=True):
        padded = torch.zeros(3, 14, 12)
        padded[:, 2:12, 2:10] = old
        here = [(y, x) for y in range(5) for x in range(5) if torch.equal(padded[:, y : y + 10, x : x + 8], new)]
        assert len(here) == 1
        offsets.add(here[0])
    assert len(offsets) > 15


def test_cutout_covers_one_square_and_nothing_else(images):
    found = moved(images, TrainingRecipe(cutout=0.5), drawn())
    for old, new in zip(images, found, strict=True):
        hole = (new == 0).all(0)
        assert torch.equal(new[:, ~hole], old[:, ~hole])
        rows, columns = hole.any(1).sum(), hole.any(0).sum()
        assert 0 < rows <= 5
        assert 0 < columns <= 4
        assert hole.sum() == rows * columns


def test_jitter_stays_within_its_strength_and_leaves_grey_pictures_grey():
    images = torch.full((32, 3, 4, 4), 0.5)
    found = coloured(images, TrainingRecipe(jitter=0.1), drawn())
    assert found.min() >= 0.45 - 1e-6
    assert found.max() <= 0.55 + 1e-6
    assert found.std() > 0
    assert torch.allclose(found[:, 0], found[:, 2])
    assert torch.equal(coloured(images, TrainingRecipe(), drawn()), images)


def test_a_chance_leaves_the_other_images_as_they_are(images):
    found = moved(images, TrainingRecipe(cutout=0.5, translate=0.2, chance=0.5), drawn())
    same = sum(bool((a == b).all()) for a, b in zip(found, images, strict=True))
    assert 4 < same < 32


def test_what_a_model_sees_is_resized_and_normalised():
    options = {"mean": [0.2], "std": [0.5], "height": 4, "width": 4, "input_size": [8, 6]}
    view = View(options, torch.device("cpu"))
    observed = view(torch.full((2, 1, 4, 4), 255, dtype=torch.uint8))
    assert observed.shape == (2, 1, 8, 6)
    assert torch.allclose(observed, torch.tensor(1.6))


def test_a_mapped_array_is_the_file_itself_and_cannot_be_written_through(tmp_path):
    values = np.arange(5000, dtype="uint8").reshape(50, 100)
    np.save(tmp_path / "a.npy", values)
    with open(tmp_path / "a.npy", "rb") as file:
        tensor = mapped(file.fileno())
        assert torch.equal(tensor, torch.from_numpy(values))
    assert not tensor.numpy().flags.owndata


# Rates.


def rates(recipe, steps, losses=()):
    """The rate before each of `steps` steps, an epoch after every tenth."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.2, total_steps=steps)
    found = rates_of(optimizer, schedule, recipe, steps)
    message = []
    for step in range(steps):
        if found.ended:
            break
        message.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        found.step()
        if step % 10 == 9 and losses:
            found.epoch(losses[step // 10])
    return message


def test_the_seeds_own_schedule_is_followed_unless_another_is_fixed():
    own = rates(TrainingRecipe(), 40)
    assert max(own) == pytest.approx(0.2, rel=0.01)
    assert rates(TrainingRecipe(schedule="constant"), 40) == [pytest.approx(0.2)] * 40  # the peak that was chosen


def test_one_cycle_rises_linearly_and_falls_to_nothing():
    message = rates(TrainingRecipe(schedule="one-cycle", warmup_steps=10), 100)
    assert message[:10] == pytest.approx([0.2 * (i + 1) / 11 for i in range(10)])
    assert message[10] == pytest.approx(0.2)
    assert message[55] == pytest.approx(0.1, rel=0.05)
    assert message[-1] < 0.001


def test_a_plateau_cuts_the_rate_when_the_loss_has_not_improved_for_so_many_epochs_and_ends_the_training():
    losses = [1.0, 0.9, 0.95, 0.95, 0.95, 0.95, 0.95, 0.95, 0.95]
    message = rates(TrainingRecipe(schedule="plateau", factor=0.5, patience=1, stop_below=0.06), 90, losses)
    assert message == pytest.approx([0.2] * 40 + [0.1] * 20)


def test_an_average_of_weights_follows_them_and_forgets_where_they_began():
    model = torch.nn.BatchNorm1d(2)
    torch.nn.init.constant_(model.weight, 100.0)
    average = Average(model, 0.9)
    for _ in range(60):
        torch.nn.init.constant_(model.weight, 1.0)
        average.update()
    torch.nn.init.constant_(model.weight, 5.0)
    model.num_batches_tracked += 7
    average.load()
    assert model.weight.tolist() == pytest.approx([1.0, 1.0], abs=0.2)
    assert int(model.num_batches_tracked) == 7


# The table.


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (3, "task.training must be a table, not 3."),
        ({"flop": 1}, "task.training: unknown key flop; known: "),
        ({"flip": 2}, "task.training.flip must be a number from 0 to 1, not 2."),
        ({"ema": float("nan")}, "task.training.ema must be a number from 0 to 0.99999, not nan."),
        ({"patience": 1.5}, "task.training.patience must be a whole number from 0 to 1e+06, not 1.5."),
        ({"schedule": "cosine"}, "task.training.schedule must be one of seed, one-cycle, plateau, constant, not 'cosine'."),
        ({"cuda_graphs": 1}, "task.training.cuda_graphs must be true or false, not 1."),
        ({"compile": True}, "task.training.compile: torch.compile starts compiler processes, which the sandbox forbids"),
    ],
)
def test_a_mistake_in_a_recipe_is_one_sentence(table, message):
    with pytest.raises(TaskError) as error:
        TrainingRecipe.read(table)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_a_recipe_is_described_in_words():
    augmentation = {"flip": 0.5, "translate": 0.05, "jitter": 0.05, "chance": 0.5}
    recipe = TrainingRecipe(**augmentation, schedule="plateau", warmup_steps=1000, stop_below=0.001)
    assert recipe.augmentation() == (
        "mirrored with probability 0.5; jittered in brightness, contrast and saturation by 0.05, shifted by up to 5% of "
        "their side with probability 0.5 each"
    )
    assert recipe.rates() == (
        "a linear rise over 1,000 steps, then x 0.7 when the training loss has not improved for 5 epochs, until the rate is "
        "below 0.001, which ends the training"
    )
    assert (TrainingRecipe().augmentation(), TrainingRecipe().rates()) == ("none", "")
