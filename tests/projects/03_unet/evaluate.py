import torch


@torch.inference_mode()
def evaluate(net, dataloader, device):
    net.eval()
    dice_score = 0.0
    for batch in dataloader:
        mask_pred = (torch.sigmoid(net(batch["image"].to(device)).squeeze(1)) > 0.5).float()
        mask = batch["mask"].float()
        dice_score += 2 * (mask_pred * mask).sum() / (mask_pred.sum() + mask.sum()).clamp(min=1e-6)
    net.train()
    return dice_score / max(len(dataloader), 1)
