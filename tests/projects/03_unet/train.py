import argparse
import logging

import torch
import torch.nn.functional as F
from evaluate import evaluate
from torch.utils.data import DataLoader, random_split
from unet import UNet
from utils.data_loading import BasicDataset


def train_model(model, device, epochs=5, batch_size=1, learning_rate=1e-3, val_percent=0.25, workers=0):
    dataset = BasicDataset(range(96), workers)
    n_val = int(len(dataset) * val_percent)
    parts = [len(dataset) - n_val, n_val]
    train_set, val_set = random_split(dataset, parts, generator=torch.Generator().manual_seed(0))
    loader_args = dict(batch_size=batch_size, num_workers=workers)
    train_loader = DataLoader(train_set, shuffle=True, **loader_args)
    val_loader = DataLoader(val_set, shuffle=False, drop_last=True, **loader_args)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=learning_rate, weight_decay=1e-8, momentum=0.9, foreach=True)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "max", patience=5)
    for epoch in range(1, epochs + 1):
        model.train()
        for batch in train_loader:
            masks_pred = model(batch["image"].to(device))
            loss = F.binary_cross_entropy_with_logits(masks_pred.squeeze(1), batch["mask"].float())
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        val_score = evaluate(model, val_loader, device)
        scheduler.step(val_score)
        logging.info("Epoch %d Validation Dice score: %s", epoch, val_score)


def get_args():
    parser = argparse.ArgumentParser(description="Train the UNet on images and target masks")
    parser.add_argument("--epochs", "-e", metavar="E", type=int, default=5, help="Number of epochs")
    parser.add_argument("--batch-size", "-b", dest="batch_size", metavar="B", type=int, default=8)
    parser.add_argument("--learning-rate", "-l", type=float, default=1e-3, dest="lr")
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--classes", "-c", type=int, default=1, help="Number of classes")
    return parser.parse_args()


if __name__ == "__main__":
    args = get_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    device = torch.device("cpu")
    model = UNet(n_channels=1, n_classes=args.classes)
    model.to(device=device)
    train_model(model, device, epochs=args.epochs, batch_size=args.batch_size, learning_rate=args.lr, workers=args.workers)
