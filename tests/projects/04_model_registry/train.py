import argparse
from collections import OrderedDict

import torch
from models import create_model
from sklearn.datasets import load_digits

parser = argparse.ArgumentParser(description="Training")
parser.add_argument("--model", default="convmixer_small", type=str, metavar="MODEL")
parser.add_argument("--num-classes", type=int, default=10, metavar="N")
parser.add_argument("--lr", type=float, default=5e-2)
parser.add_argument("--epochs", type=int, default=2)


class AverageMeter:
    """Computes and stores the average and current value"""

    def __init__(self):
        self.sum = self.count = self.avg = 0

    def update(self, val, n=1):
        self.sum += val * n
        self.count += n
        self.avg = self.sum / self.count


def validate(model, images, labels, loss_fn):
    top1, losses = AverageMeter(), AverageMeter()
    model.eval()
    with torch.no_grad():
        for x, y in zip(images.split(128), labels.split(128), strict=True):
            output = model(x)
            losses.update(loss_fn(output, y).item(), len(x))
            top1.update(100.0 * (output.argmax(1) == y).float().mean().item(), len(x))
    print(f"Test: Loss: {losses.avg:>6.3f}  Acc@1: {top1.avg:>7.3f}")
    return OrderedDict([("loss", losses.avg), ("top1", top1.avg)])


def main():
    args = parser.parse_args()
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
    labels = torch.tensor(digits.target)
    model = create_model(args.model, num_classes=args.num_classes)
    print(f"Model {args.model} created, param count: {sum(m.numel() for m in model.parameters())}")
    loss_fn = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9, nesterov=True, weight_decay=2e-5)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=args.epochs)
    for epoch in range(args.epochs):
        model.train()
        for batch in torch.randperm(1000).split(64):
            optimizer.zero_grad()
            loss_fn(model(images[batch]), labels[batch]).backward()
            optimizer.step()
        scheduler.step()
        validate(model, images[1000:], labels[1000:], loss_fn)


if __name__ == "__main__":
    main()
