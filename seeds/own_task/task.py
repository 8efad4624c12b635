"""A task of its own, small and complete: how a disease progresses within a year, from ten numbers about a patient.

Change it to yours. Everything here is fixed in a run and hidden from evolution; `model.py` is what evolves.

- `data`, `score`, `facts` and `normalised` run outside of the sandbox, with your rights; `fit` and `predict` run inside, in
  processes that see no file of yours. So read files in `data` only, and import what is heavy where it is needed.
- The program under evolution is handed in as `module`. Never import it.
- Parameters, time and memory are counted outside, whatever the task: they need no code here.
"""

import numpy as np

title = "Predict how far diabetes has progressed a year later from ten measurements of a patient (tabular regression)."
objectives = {"rmse": "min"}  # what score() returns, each with `min` or `max`
output_shape = ()  # of the prediction for one row: () is a number, (10,) ten logits, ...


def data():
    """What the program learns from, and what it is measured on.

    `train` is an array or a dict of arrays, handed to `fit` as it is. `validation` and `test` are (inputs, targets): inputs
    an array or a dict of arrays with one row for each prediction, targets an array with one entry for each row. Targets
    never enter the sandbox. The same values must come out of every call.

    Rows that must not be seen together, such as overlapping windows of a series, belong into different parts: a list of
    (inputs, targets), each predicted in a process of its own.
    """
    from sklearn.datasets import load_diabetes

    patients = load_diabetes()
    inputs, targets = patients.data.astype("float32"), patients.target.astype("float32")
    order = np.random.default_rng(0).permutation(len(inputs))
    validation, test, train = np.split(order, [88, 176])
    return {
        "train": {"inputs": inputs[train], "targets": targets[train]},
        "validation": (inputs[validation], targets[validation]),
        "test": (inputs[test], targets[test]),  # sealed: only `evolve confirm` scores it
    }


def facts():
    """Optional. What a researcher needs to know to decide, for the prompts: label -> sentence."""
    return {
        "Data": (
            "442 patients: 266 to train on, 88 others (validation) to measure on; ten measurements (age, sex, body mass index, "
            "blood pressure, six of blood serum), centred and scaled; the target lies between 25 and 346."
        ),
        "Input": "float32 (N, 10) -> float32 (N,); the target is standardised in training, and predictions are scaled back.",
        "May be overridden": "`build_model(inputs)` and `build_optimizer(model, steps)`, which returns an optimizer.",
    }


def fit(module, train, budget, seed):
    """Inside. Trains the program and returns the model (or its state: tensors by name).

    `budget` has the keys of `[budget]` in seed.toml as attributes (here `epochs` and `batch_size`) and `device`, `threads`
    and `seconds`. torch is seeded before the call; all other chance must come from `seed`. Before the real training it is
    called once with `epochs` and `steps` at 1 on made-up data of the same form: that fixes names and shapes of the weights.
    """
    import torch

    inputs, targets = (torch.from_numpy(train[name]).to(budget.device) for name in ("inputs", "targets"))
    model = module.build_model(inputs.shape[1]).to(budget.device).train()
    model.register_buffer("scale", torch.stack([targets.mean(), targets.std()]))
    wanted = (targets - model.scale[0]) / model.scale[1]
    optimizer = module.build_optimizer(model, budget.epochs * -(-len(inputs) // budget.batch_size))
    generator = torch.Generator().manual_seed(seed)
    for _ in range(budget.epochs):
        for rows in torch.randperm(len(inputs), generator=generator).split(budget.batch_size):
            loss = torch.nn.functional.mse_loss(model(inputs[rows]), wanted[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


def predict(module, weights, inputs):
    """Inside, in another process. One prediction for each row of `inputs`: a float array of (rows, *output_shape).

    Called several times with the rows in another order and company: a row must be predicted by itself.
    """
    import torch

    scale = weights.pop("scale")
    model = module.build_model(inputs.shape[1])
    model.load_state_dict(weights)
    model.to(scale.device).eval()
    return model(torch.from_numpy(inputs).to(scale.device)) * scale[1] + scale[0]


def score(predictions, targets):
    """Outside. One finite number for each objective; never touches the program."""
    return {"rmse": float(np.sqrt(((predictions - targets) ** 2).mean()))}
