"""Whole evaluations under other settings: their length, their progress, their objectives, their bad input."""

import io
from pathlib import Path

import numpy as np
import pytest

from sandbox.data import DataRequest, load
from sandbox.sandbox import TaskError
from sandbox.tasks import open_task
from sandbox.tasks.common.job import Job, Measured, Progress, StageFailure
from sandbox.tasks.common.latency import MAX_IMAGES, images_needed, rounds_needed
from sandbox.tasks.common.progress import Watcher, parse

TINY = Path(__file__).parents[4].joinpath("seeds/tiny_cnn/model.py").read_text()
GUESSES = TINY + "\n\ndef loss(logits, labels):\n    return (logits * 0).sum() + 1\n"
SLEEPS = "\n\ndef augment(images, generator):\n    import time\n\n    time.sleep({})\n    return images\n"


@pytest.fixture
def measure(cache, recorder):
    """Evaluates a source text at the digits; tables as keywords."""

    def run(source=TINY, *, task=None, wanted=(), bounds=None, progress=None, **budget):
        budget = budget or {"epochs": 3}
        opened = open_task({"dataset": "digits", **(task or {})}, budget, bounds or {}, ("model.py",), cache, wanted)
        return opened.evaluate(Job({"model.py": source}, 0), recorder, progress)

    return run


def test_a_recipe_with_everything_trains_well_and_the_same_every_time(measure):
    recipe = {"flip": 0.01, "translate": 0.1, "cutout": 0.1, "jitter": 0.1, "label_smoothing": 0.1, "ema": 0.9}
    task = {"training": {**recipe, "schedule": "one-cycle", "warmup_steps": 10}, "input_size": 12}
    first, again = measure(task=task, epochs=5), measure(task=task, epochs=5)
    assert first.values["accuracy"] > 0.8
    assert (again.values, again.curve) == (first.values, first.curve)


def test_images_can_be_changed_before_they_are_resized(measure):
    training = {"translate": 0.2, "flip": 0.01, "cutout": 0.2}
    curves = []
    for resize in ("first", "last"):
        task = {"training": {**training, "resize": resize}, "input_size": 16}
        curves.append(measure(task=task, epochs=3).curve)
    assert curves[0] != curves[1]
    assert curves[1][-1][1] > 0.3


def test_the_seeds_own_augmentation_and_loss_take_the_place_of_the_recipes(measure):
    training = {"cutout": 1.0, "label_smoothing": 0.5}
    own = "\n\ndef augment(images, generator):\n    return images\n"
    own += "\n\ndef loss(logits, labels):\n    return F.cross_entropy(logits, labels)\n"
    plain = measure(epochs=1).curve
    assert measure(TINY + own, task={"training": training}, epochs=1).curve == plain
    assert measure(task={"training": training}, epochs=1).curve != plain


def test_only_whole_batches_are_trained_with_if_that_is_asked_for(measure, cache):
    message = []
    training = {"whole_batches": True}
    measure(task={"training": training}, progress=message.append, epochs=2, batch_size=100)
    assert [(p.step, p.steps) for p in message] == [(10, 20), (20, 20)]  # of 1,087 images
    settings = ({"dataset": "digits", "training": training}, {"epochs": 2, "batch_size": 100}, {}, ("model.py",), cache)
    assert "which is 20 optimizer steps" in open_task(*settings).facts()["Training"]


def test_a_plateau_ends_a_training_early(measure):
    training = {"schedule": "plateau", "patience": 0, "factor": 0.01, "stop_below": 0.001}
    measured = measure(GUESSES, task={"training": training}, epochs=9)
    assert len(measured.curve) == 2


def test_seconds_are_a_length_too(measure):
    measured = measure(TINY + SLEEPS.format(0.02), seconds=2)  # a hundred steps at most, seventeen in an epoch
    assert isinstance(measured, Measured)
    assert 1 <= len(measured.curve) <= 6


def test_progress_is_reported_after_every_epoch_and_within_a_long_one(measure):
    message = []
    measured = measure(progress=message.append, epochs=3)
    assert [(p.epoch, p.epochs, p.step, p.steps) for p in message] == [(1, 3, 17, 51), (2, 3, 34, 51), (3, 3, 51, 51)]
    assert [p.loss for p in message] == pytest.approx([loss for loss, _ in measured.curve], abs=1e-4)
    assert [p.accuracy for p in message] == pytest.approx([accuracy for _, accuracy in measured.curve], abs=1e-4)
    assert str(message[0]).startswith("epoch 1/3 loss ")
    message.clear()
    measure(TINY + SLEEPS.format(0.3), progress=message.append, epochs=1)
    assert message[0].step < 17 and message[-1].step == 17


@pytest.mark.parametrize(
    "line",
    [
        "epoch 1/3, step 5/9: loss 1.2, training accuracy 0.5 and more",
        "epoch 1/3: loss 1.2, training accuracy 0.5",
        "epoch 1/3, step 5/9: loss 1.2.3, training accuracy 0.5",
        "epoch one/3, step 5/9: loss 1.2, training accuracy 0.5",
        "epoch 99999999999/3, step 5/9: loss 1.2, training accuracy 0.5",
        "",
    ],
)
def test_a_line_of_another_form_is_no_progress(line):
    assert parse(line) is None
    assert Watcher(lambda _: pytest.fail("told"), 0.1)(line)


def test_a_training_that_learns_nothing_is_given_up_if_that_is_asked_for(measure):
    stopped = measure(GUESSES + SLEEPS.format(0.02), epochs=30, early_stop="chance")
    assert isinstance(stopped, StageFailure)
    assert stopped.stage == "fit"
    assert "of the training images were right, where guessing gives" in stopped.reason
    assert stopped.reason.endswith("it was stopped early.")
    assert isinstance(measure(GUESSES, epochs=3), Measured)


def test_a_training_that_learns_or_has_just_started_is_not_given_up():
    watcher = Watcher(None, 0.1)
    assert watcher("epoch 1/9, step 2/9: loss 2.3, training accuracy 0.0900")
    assert watcher("epoch 3/9, step 3/9, done: loss 2.3, training accuracy 0.1300")
    assert not watcher("epoch 4/9, step 4/9, done: loss 2.3, training accuracy 0.1100")
    assert watcher.given_up == Progress(4, 9, 4, 9, 2.3, 0.11)


# Objectives.


def test_only_what_is_wanted_is_measured(measure):
    assert measure(epochs=1).values.keys() == {"accuracy", "parameters"}
    values = measure(epochs=1, wanted=("flops", "memory", "train_time")).values
    assert values.keys() == {"accuracy", "parameters", "flops", "memory", "train_time"}
    assert values["flops"] == 2 * (64 * 9 * 16 + 16 * 9 * 16 * 32 + 32 * 10)
    assert 0 < values["train_time"] < 60
    assert 10 < values["memory"] < 4096


def test_operations_are_counted_at_the_size_that_the_model_sees_and_bounded_before_training(measure, recorder):
    small = measure(epochs=1, wanted=("flops",)).values["flops"]
    recorder.calls.clear()
    stopped = measure(task={"input_size": 16}, bounds={"flops": 2 * small}, epochs=1)
    assert stopped.stage == "smoke"
    assert stopped.reason.endswith(f"at most {2 * small:,.0f} are allowed.")
    assert len(recorder.calls) == 1


def test_a_forged_count_of_operations_is_never_below_the_parameters(measure):
    forged = "\n\nimport sandbox.tasks.image_classification.inside as inside\nimport torch.utils.flop_counter as c\n"
    forged += "c.FlopCounterMode.get_total_flops = lambda self: 1\n"
    values = measure(TINY + forged, wanted=("flops",), epochs=1).values
    assert values["flops"] == values["parameters"]


@pytest.mark.slow
def test_what_a_model_takes_for_an_image_is_in_its_latency(measure):
    slow = TINY.replace("        x = self.second(", "        import time\n\n        time.sleep(0.02)\n        x = self.second(")
    assert measure(slow, wanted=("latency",), epochs=1).values["latency"] > 0.8 * 20 / 64  # milliseconds, in batches of 64


def test_as_many_images_are_timed_as_take_a_second_and_few_of_them_oftener():
    assert images_needed(10_000, 1 / 400, 64) == 400
    assert images_needed(100, 1 / 400, 64) == images_needed(100, -1.0, 64) == 100
    assert images_needed(10**9, 1e-9, 64) == MAX_IMAGES
    assert [rounds_needed(work) for work in (5.0, 1.0, 0.5, 0.01, -1.0)] == [3, 3, 6, 9, 9]


def test_all_images_that_are_timed_are_real_ones_and_each_is_there_once(measure, recorder, cache):
    measure(wanted=("latency",), epochs=1)
    data = load("digits", cache)
    real = {image.tobytes() for split in ("train", "validation") for image in np.load(data.images(split))}
    predicted = [inputs["images"] for inputs in recorder.inputs if "weights" in inputs]
    shown = [[image.tobytes() for image in np.load(io.BytesIO(images))] for images in predicted]
    timed = [images for images in shown if len(images) > 355]
    assert len(timed) > 2
    assert all(set(images) <= real and len(set(images)) == len(images) for images in timed)
    orders = {tuple(images) for images in timed}
    assert len(orders) == len(timed) / 2 + 1  # the empty model gets the same images, always in one order


def test_skipping_images_while_timed_is_noticed(measure):
    skip = "        CALLS.append(1)\n        if len(CALLS) > 7 and not self.training:\n            return x.flatten(1)[:, :10]\n"
    lazy = TINY.replace("        x = self.second(", skip + "        x = self.second(") + "\n\nCALLS = []\n"
    stopped = measure(lazy, wanted=("latency",), epochs=1)  # seven batches judge all 355 images, more must be the clock
    assert isinstance(stopped, StageFailure)
    assert stopped.stage == "integrity"


def test_the_facts_hold_under_other_settings(cache):
    training = {"flip": 0.5, "ema": 0.99, "label_smoothing": 0.1, "schedule": "one-cycle"}
    task = {"dataset": "digits", "input_size": 16, "training": training}
    facts = open_task(task, {"seconds": 20, "early_stop": "chance"}, {}, ("model.py",), cache, ("latency",)).facts()
    assert "20 s with shuffled batches of 64, as many optimizer steps as that allows" in facts["Training"]
    assert "learned nothing after a third is stopped; else a moving average of the weights" in facts["Training"]
    assert "A scheduler that it returns too is not used." in facts["Optimizer"]
    assert "float32 (N, 1, 16, 16): pixels scaled to 0..1, resized bilinearly from 8 x 8" in facts["Input"]
    assert "Default: mirrored with probability 0.5." in facts["Augmentation"]
    assert "label smoothing 0.1" in facts["Loss"]
    assert "time of a training, schedule" in facts["May be overridden"]
    assert "latency is milliseconds" in facts["Score"] and "flops" not in facts["Score"]


@pytest.mark.parametrize(
    ("task", "budget", "message"),
    [
        ({"input_size": "big"}, {"epochs": 1}, "task.input_size must be a number of pixels"),
        ({"training": {"flips": 1}}, {"epochs": 1}, "task.training: unknown key flips"),
        ({}, {"seconds": 0}, "budget.seconds must be a number above 0, not 0"),
        ({}, {"seconds": 60, "time_limit": "60s"}, "budget.seconds = 60 must be less than budget.time_limit"),
        ({}, {"epochs": 1, "early_stop": True}, 'budget.early_stop must be "never" or "chance", not True'),
    ],
)
def test_a_mistake_in_the_settings_is_one_sentence(task, budget, message, cache):
    with pytest.raises(TaskError) as error:
        open_task({"dataset": "digits", **task}, budget, {}, ("model.py",), cache)
    assert message in str(error.value)


# Images and models that do not fit each other.


def test_the_error_of_a_model_for_colour_explains_how_to_get_grey_images_in_colour(measure):
    fixed = TINY.replace("TinyCNN(num_classes, in_channels)", "TinyCNN(num_classes, 3)")
    stopped = measure(fixed)
    assert "expected input[8, 1, 8, 8] to have 3 channels, but got 1 channels instead" in stopped.reason
    assert stopped.reason.endswith("The images have 1 channel; task.channels = 3 shows them in 3.")
    assert isinstance(measure(fixed, task={"channels": 3}), Measured)


def test_the_error_of_a_model_for_grey_explains_how_to_get_colour_images_in_grey(recorder, tmp_path):
    Image = pytest.importorskip("PIL.Image")
    for name in ("cat", "dog"):
        (tmp_path / "d" / name).mkdir(parents=True)
        for number in range(10):
            buffer = io.BytesIO()
            pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype="uint8")
            Image.fromarray(pixels).save(buffer, "PNG")
            (tmp_path / "d" / name / f"{number}.png").write_bytes(buffer.getvalue())
    fixed = TINY.replace("TinyCNN(num_classes, in_channels)", "TinyCNN(num_classes, 1)")
    task = open_task({"dataset": str(tmp_path / "d")}, {"epochs": 1}, {}, ("model.py",), tmp_path / "c")
    stopped = task.evaluate(Job({"model.py": fixed}, 0), recorder)
    assert stopped.reason.endswith("The images have 3 channels; task.channels = 1 shows them in 1.")


def test_embedded_digits_are_shown_in_colour_too(cache):
    data = load(DataRequest("digits", channels=3, image_size=(16, 12)), cache)
    assert (data.channels, data.height, data.width) == (3, 16, 12)
    assert data.folder != load("digits", cache).folder
