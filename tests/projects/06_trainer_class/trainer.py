"""A Trainer in the manner of large libraries, small."""

from dataclasses import dataclass, fields

import numpy as np
import torch


@dataclass
class TrainingArguments:
    output_dir: str = "out"
    per_device_train_batch_size: int = 32
    learning_rate: float = 5e-3
    weight_decay: float = 0.01
    num_train_epochs: float = 3.0
    warmup_ratio: float = 0.1
    label_smoothing_factor: float = 0.0


def parse_dataclasses(argv, *kinds):
    given = dict(zip((a.lstrip("-") for a in argv[::2]), argv[1::2], strict=True))
    built = []
    for kind in kinds:
        own = {f.name: type(f.default)(given[f.name]) for f in fields(kind) if f.name in given}
        built.append(kind(**own))
    return built


class Trainer:
    def __init__(self, model, args, train_dataset, eval_dataset, compute_metrics):
        self.model, self.args = model, args
        self.train_dataset, self.eval_dataset = train_dataset, eval_dataset
        self.compute_metrics = compute_metrics

    def create_optimizer_and_scheduler(self, num_training_steps):
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=self.args.learning_rate, weight_decay=self.args.weight_decay
        )
        warmup = int(self.args.warmup_ratio * num_training_steps)

        def lr_lambda(step):
            if step < warmup:
                return step / max(1, warmup)
            return max(0.0, (num_training_steps - step) / max(1, num_training_steps - warmup))

        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lr_lambda)

    def compute_loss(self, model, inputs):
        return model(**inputs)["loss"]

    def training_step(self, inputs):
        self.model.train()
        loss = self.compute_loss(self.model, inputs)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        return loss.detach()

    def get_dataloader(self, dataset, shuffle):
        return torch.utils.data.DataLoader(dataset, self.args.per_device_train_batch_size, shuffle=shuffle)

    def train(self):
        loader = self.get_dataloader(self.train_dataset, True)
        epochs = int(self.args.num_train_epochs)
        self.create_optimizer_and_scheduler(epochs * len(loader))
        for epoch in range(epochs):
            losses = []
            for inputs in loader:
                losses.append(self.training_step(inputs).item())
                self.optimizer.step()
                self.lr_scheduler.step()
                self.optimizer.zero_grad()
            print({"loss": round(float(np.mean(losses)), 4), "learning_rate": self.lr_scheduler.get_last_lr()[0], "epoch": epoch + 1})

    def evaluate(self):
        self.model.eval()
        logits, labels = [], []
        with torch.no_grad():
            for inputs in self.get_dataloader(self.eval_dataset, False):
                logits.append(self.model(inputs["input_ids"])["logits"].numpy())
                labels.append(inputs["labels"].numpy())
        metrics = self.compute_metrics((np.concatenate(logits), np.concatenate(labels)))
        metrics = {f"eval_{k}": v for k, v in metrics.items()}
        print(metrics)
        return metrics

    def log_metrics(self, split, metrics):
        print(f"***** {split} metrics *****")
        for key in sorted(metrics):
            print(f"  {key: <24}={metrics[key]:>12}")
