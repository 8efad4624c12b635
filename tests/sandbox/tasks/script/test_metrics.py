"""The forms in which people print a metric: each is read right, or refused with the line shown."""

import contextlib
import time

import pytest

from sandbox.tasks.common.job import StageFailed
from sandbox.tasks.script import metrics

FORMS = [
    ("params: 1.44K", "params", 1440),
    ("step_time: 0.224ms", "step_time", 0.000224),
    ("t: 12.5s", "t", 12.5),
    ("t: 900us", "t", 0.0009),
    ("t: 1.2 ms", "t", 0.0012),
    ("params: 1.44 M", "params", 1440000.0),
    ("size: 1.2 GMac", "size", 1200000000.0),
    ("Params (M): 1.44", "Params", 1.44),
    ("acc (%): 91.2", "acc", 91.2),
    ("Time (ms): 3", "Time", 3),
    ("speed: 1200 img/s", "speed", 1200),
    ("val_loss: 1,234", "val_loss", 1234),
    ("loss=0.12,acc=3", "loss", 0.12),
    ("val_loss: array([0.5])", "val_loss", 0.5),
    ("val_loss: tensor([[0.5]], grad_fn=<MeanBackward0>)", "val_loss", 0.5),
    ("epoch 1 val_loss: 0.5 -> 0.4", "val_loss", 0.4),
    ("Validation loss decreased (inf --> 0.402).  Saving model ...", "Validation loss", 0.402),
    ("Epoch 1: val_loss improved from inf to 0.52, saving model to x.h5", "val_loss", 0.52),
    ("val_loss: 0.6\nval_loss did not improve from 0.52", "val_loss", 0.6),
    ("Test set: Average loss: 0.0271, Accuracy: 9913/10000 (99%)\n", "Accuracy", 0.9913),
    ("Test set: Average loss: 0.0271, Accuracy: 9913/10000 (99%)\n", "loss", 0.0271),
    ("Accuracy of the network on the 10000 test images: 55 %\nAccuracy for class: plane is 61.3 %", "Accuracy", 55),
    ("val_loss=0.31\nsaved ckpt/epoch=03-val_loss=0.32.ckpt\n", "val_loss", 0.31),
    ("epoch  train_loss  val_loss\n1  0.5  0.6\n2 0.4 0.55\n", "val_loss", 0.55),
    ("   epoch  val_loss   acc\n0      1     0.512  0.81\n1      2     0.431  0.85\n", "val_loss", 0.431),
    ("epoch,val_loss\n1,0.3\n2,0.2", "val_loss", 0.2),
    ("| Epoch | Val Loss |\n|---|---|\n| 1 | 0.3 |\n", "val_loss", 0.3),
    (
        "epoch     train_loss  valid_loss  accuracy  time    \n0         0.7         0.4         0.81      00:05\n1         0.5         0.3         0.85      00:05\n",  # noqa: E501
        "accuracy",
        0.85,
    ),
    ("wandb: val_loss 0.33\n", "val_loss", 0.33),
    ("INFO:root:val_loss: 0.3", "val_loss", 0.3),
    ("2026-01-01 12:00:00,123 - train - INFO - val_loss: 0.3", "val_loss", 0.3),
    ("metrics['val_loss'] = 0.3", "val_loss", 0.3),
    ("**val_loss**: **0.3**", "val_loss", 0.3),
    ("<td>val_loss: 0.3</td>", "val_loss", 0.3),
    ("val_loss: 0.12\xb10.01", "val_loss", 0.12),
    ("val_loss: 0.12 \xb1 0.01", "val_loss", 0.12),
    ("val_loss: 0.12 +/- 0.01", "val_loss", 0.12),
    ("val_loss: \u22120.3", "val_loss", -0.3),
    ("val_loss -0.3", "val_loss", -0.3),
    ("val_loss: 1_234", "val_loss", 1234),
    ("val_loss: 1e-3", "val_loss", 0.001),
    ("Loss 4.5e-01 (5.2e-01)", "Loss", 0.45),
    ("Epoch 1 loss: 0.5 lr: 0.1", "loss", 0.5),
    ("final val_loss: 0.3", "val_loss", 0.3),
    ("val_loss: 0.5\nbest val_loss: 0.3", "best val_loss", 0.3),
    ("acc: 91.2 %, loss: 3", "acc", 91.2),
    ("val_loss..... 0.3", "val_loss", 0.3),
    ("val_loss 0.33|acc 0.5", "val_loss", 0.33),
    ("VAL-LOSS=0.3", "val_loss", 0.3),
    ("val_loss=1e5s", "val_loss", 100000.0),
    ('  "val_loss": 0.1,\n  "acc": "91%"\n', "acc", 91),
    ("mem: 1.2GiB", "mem", 1288490188.8),
    ("mem: 512 MB", "mem", 512000000.0),
    ("val_loss = torch.tensor(0.3)", "val_loss", 0.3),
    ("OrderedDict([('val_loss', 0.3)])", "val_loss", 0.3),
    ("('val_loss', 0.3)", "val_loss", 0.3),
    ("val_loss: 0.3 [best]", "val_loss", 0.3),
    ("val_loss=0.3;acc=2", "val_loss", 0.3),
    ("Val loss is 0.3", "val loss", 0.3),
    ("Step 3 | val_loss: 0.3 | 12.5s", "val_loss", 0.3),
]
REFUSED = [
    ("params: 7B", "params"),
    ("t: 1m23s", "t"),
    ("t: 1 min 23 s", "t"),
    ("t: 00:12", "t"),
    ("speed: 12.5it/s", "speed"),
    ("val_loss: 1.234,5", "val_loss"),
    ("val_loss: 12,5", "val_loss"),
    ("val_loss: 0.1,0.2", "val_loss"),
    ("val_loss: [0.1, 0.2]", "val_loss"),
    ("val_loss: [0.1 0.2]", "val_loss"),
    ("val_loss: tensor(nan)", "val_loss"),
    ("val_loss: None", "val_loss"),
    ("val_loss: 0.3\nval_loss: nan", "val_loss"),
    ('{"val_loss": null}', "val_loss"),
    ("Accuracy of the network on the 10000 test images: 55 %\nAccuracy of plane : 60 %\nAccuracy of car : 70 %", "Accuracy"),
    ("saved ckpt/epoch=03-val_loss=0.32.ckpt\n", "val_loss"),
    ("mAP@0.5:0.95: 0.37", "mAP@0.5"),
    ("mAP@0.5: 0.37", "mAP"),
    ("train/loss: 0.5", "loss"),
    ("class  acc\nplane  0.5\ncar 0.7\n", "acc"),
    ("    accuracy                           0.97       100\n", "accuracy"),
    ("val_loss - 0.3", "val_loss"),
    ("val_loss: <0.001", "val_loss"),
    ("val_loss: 0x1F", "val_loss"),
    ("val_loss: 1.2\xd710^-3", "val_loss"),
    ("val_loss: 0.12.3", "val_loss"),
    ("val_loss: {:.3f}", "val_loss"),
    ("val_loss 0.3 0.4", "val_loss"),
    ("| val_loss | 0.3 | 0.4 |", "val_loss"),
    ("val_loss:\n0.3", "val_loss"),
    ("val_loss: 0.5\nbest val_loss: 0.3", "val_loss"),
    ("loss 0.3 min 0.1", "loss"),
    ("val_loss\xa0: 1\u202f234,5", "val_loss"),
    ("val_loss: 1e999", "val_loss"),
    ("val_loss: 5e", "val_loss"),
    ("loss (avg): 0.3", "loss"),
    ("val_loss after epoch 3: 0.4", "val_loss"),
    ("val_loss~0.3", "val_loss"),
    ("val_loss: ~0.3", "val_loss"),
    ("loss: 1.5m", "loss"),
    ("val_loss: 0.12/0.10", "val_loss"),
]


@pytest.mark.parametrize(("text", "name", "value"), FORMS)
def test_a_metric_is_read_in_the_form_in_which_it_is_printed(text, name, value):
    assert metrics.read(f"begin\n{text}\n", [name]) == {name: pytest.approx(value)}


@pytest.mark.parametrize(("text", "name"), REFUSED)
def test_what_could_be_two_numbers_or_two_labels_is_refused(text, name):
    with pytest.raises(StageFailed, match=r"metric|finite number"):
        metrics.read(text, [name])


def test_the_refusal_shows_the_line_and_what_is_not_understood():
    with pytest.raises(StageFailed, match=r"`0,123 acc: 1` in the line `epoch 3 val_loss: 0,123 acc: 1`"):
        metrics.read("epoch 3 val_loss: 0,123 acc: 1", ["val_loss"])


@pytest.mark.parametrize("part", ["loss: ", "loss ", "loss of ", "loss: [[[", "loss\n", "loss: 0.1 -> ", "loss,a\n", "x"])
def test_hostile_output_costs_no_more_than_its_length(part):
    began = time.process_time()
    with contextlib.suppress(StageFailed):
        metrics.read(part * (1_000_000 // len(part)), ["loss"])
    assert time.process_time() - began < 30


def test_lines_cut_where_the_output_was_too_long_are_not_read():
    log = "loss: 0.5\nloss: 0.1\n[... 1,234 bytes left out ...]\nloss: 7"
    assert metrics.read(log, ["loss"]) == {"loss": 0.5}
