"""Predict the next character of a story. The program is scored by bits per byte of pages it has not read."""

from pathlib import Path

import numpy as np

title = "Predict the next character of an English story from the 64 before it: a small language model over bytes."
objectives = {"bits_per_byte": "min"}
VOCABULARY = 128
CONTEXT = 64
output_shape = (VOCABULARY,)  # one row's prediction: a logit for each byte that could come next

PAGE = 2000
PARTS = 5


def data():
    """Of every ten pages of 2,000 bytes, eight are for training, one for validation, one for the test."""
    text = np.frombuffer(Path(__file__).with_name("alice.txt").read_bytes(), np.uint8)
    pages = text[: len(text) // PAGE * PAGE].reshape(-1, PAGE)
    number = np.arange(len(pages)) % 10
    return {"train": pages[number < 8], "validation": rows(pages[number == 8]), "test": rows(pages[number == 9])}


def rows(pages):
    """(64 bytes, the byte that follows) for a fifth of the bytes, in five parts.

    The rows of one part do not overlap, and each part is predicted in a process of its own: what a row asks for stands in
    no other row that the program can see.
    """
    parts = []
    for part in range(PARTS):
        starts = range(part * (CONTEXT + 1) // PARTS, PAGE - CONTEXT, CONTEXT + 1)
        windows = np.stack([page[start : start + CONTEXT + 1] for page in pages for start in starts])
        parts.append((windows[:, :-1], windows[:, -1]))
    return parts


def facts():
    return {
        "Data": (
            "Alice's Adventures in Wonderland (Lewis Carroll, 1865), plain ASCII with line breaks, cut into pages of 2,000 "
            "bytes: 60 pages to train on, 7 others (validation) to measure on, at 1,043 places."
        ),
        "Input": "int64 (N, T): bytes below 128, T = 64 in training and in prediction; the model must not look ahead.",
        "Output": "logits (N, T, 128) of the byte after each; only the last of a row counts in prediction.",
        "May be overridden": (
            "`build_optimizer(model, steps)` returns an optimizer or (optimizer, scheduler), whose step() follows every "
            "optimizer step; `loss(logits, targets)` of (M, 128) and (M,) replaces cross-entropy in training if the program "
            "defines it."
        ),
    }


def fit(module, train, budget, seed):
    import torch

    model = module.build_model(VOCABULARY).to(budget.device).train()
    built = module.build_optimizer(model, budget.steps)
    optimizer, scheduler = built if isinstance(built, tuple) else (built, None)
    loss_of = getattr(module, "loss", torch.nn.functional.cross_entropy)
    pages = torch.from_numpy(train).to(budget.device, torch.int64)
    generator = torch.Generator().manual_seed(seed)
    window = torch.arange(CONTEXT + 1)
    for step in range(1, budget.steps + 1):
        page = torch.randint(len(pages), (budget.batch_size, 1), generator=generator)
        start = torch.randint(pages.shape[1] - CONTEXT, (budget.batch_size, 1), generator=generator)
        batch = pages[page, start + window]
        logits = model(batch[:, :-1])
        loss = loss_of(logits.flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        if step % 50 == 0:
            print(f"step {step}: loss {float(loss):.4f}", flush=True)
    return model


def predict(module, weights, inputs):
    import torch

    model = module.build_model(VOCABULARY)
    model.load_state_dict(weights)
    device = next(iter(weights.values())).device
    model.to(device).eval()
    batches = torch.from_numpy(inputs).to(device, torch.int64).split(256)
    return torch.cat([model(batch)[:, -1].float() for batch in batches])


def normalised(predictions):
    """Logarithms of probabilities: a program cannot hide a difference by shifting its logits."""
    high = predictions - predictions.max(1, keepdims=True)
    return high - np.log(np.exp(high.astype("f8")).sum(1, keepdims=True))


def score(predictions, targets):
    """`predictions`: what `normalised` returned."""
    return {"bits_per_byte": -predictions[np.arange(len(targets)), targets].mean() / np.log(2)}
