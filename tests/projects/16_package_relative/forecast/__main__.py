import torch

from . import defaults
from .data import windows
from .model import Forecaster


def make_optimizer(model, steps):
    optimizer = torch.optim.AdamW(model.parameters(), lr=defaults.LEARNING_RATE, weight_decay=defaults.WEIGHT_DECAY)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=defaults.LEARNING_RATE, total_steps=steps)


def main():
    (x, y), (held_x, held_y) = windows(defaults.LENGTH, defaults.HORIZON)
    model = Forecaster()
    batches = -(-len(x) // 32)
    optimizer, scheduler = make_optimizer(model, batches * defaults.EPOCHS)
    for _ in range(defaults.EPOCHS):
        for idx in torch.randperm(len(x)).split(32):
            loss = torch.nn.functional.l1_loss(model(x[idx]), y[idx])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
    model.eval()
    with torch.no_grad():
        mae = (model(held_x) - held_y).abs().mean()
    print(f"MAE = {mae:.4f}")


main()
