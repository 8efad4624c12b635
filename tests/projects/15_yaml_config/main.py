import json
import sys
from pathlib import Path

import torch
from config import load_config
from torch import nn

HERE = Path(__file__).parent
MODELS = {}


def register(cls):
    MODELS[cls.__name__] = cls
    return cls


@register
class TextCNN(nn.Module):
    def __init__(self, cfg, num_classes):
        super().__init__()
        self.embed = nn.Embedding(10, cfg.channels)
        self.conv = nn.Conv1d(cfg.channels, cfg.channels, cfg.kernel_size, padding=cfg.kernel_size // 2)
        self.act = nn.ReLU()
        self.drop = nn.Dropout(cfg.dropout)
        self.fc = nn.Linear(cfg.channels, num_classes)

    def forward(self, x):
        x = self.embed(x).transpose(1, 2)
        x = self.act(self.conv(x))
        return self.fc(self.drop(x.amax(-1)))


@register
class BagOfWords(nn.Module):
    def __init__(self, cfg, num_classes):
        super().__init__()
        self.embed = nn.EmbeddingBag(10, cfg.channels)
        self.fc = nn.Linear(cfg.channels, num_classes)

    def forward(self, x):
        return self.fc(self.embed(x))


def build_optimizer(cfg, model):
    return getattr(torch.optim, cfg.name)(model.parameters(), lr=cfg.lr, weight_decay=cfg.weight_decay)


def make_split(n, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 10, (n, 16), generator=generator)
    return x, ((x[:, :-1] == 3) & (x[:, 1:] > 4)).any(1).long()


def train(cfg, aug):
    model = MODELS[cfg.model.name](cfg.model, len(aug["classes"]))
    optimizer = build_optimizer(cfg.optim, model)
    x, y = make_split(600, 0)
    for _ in range(cfg.train.epochs):
        for idx in torch.randperm(len(x)).split(cfg.train.batch_size):
            weight = torch.tensor([1.0, 1.0 + aug["noise"]])
            loss = nn.functional.cross_entropy(model(x[idx]), y[idx], weight=weight)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


def evaluate(model):
    x, y = make_split(400, 1)
    model.eval()
    with torch.no_grad():
        logits = model(x)
    return {"valid/acc": (logits.argmax(1) == y).float().mean().item(), "valid/loss": nn.functional.cross_entropy(logits, y).item()}


if __name__ == "__main__":
    cfg = load_config(sys.argv[1])
    model = train(cfg, json.loads((HERE / "configs" / "aug.json").read_text()))
    for name, value in evaluate(model).items():
        print(f"{name:<20} | {value:.4f}")
