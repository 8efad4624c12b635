import torch


def windows(length, horizon):
    """Pairs of a past and its future, of a wave with noise: first those to train on, then those held out."""
    generator = torch.Generator().manual_seed(5)
    t = torch.arange(700.0)
    series = (t / 5).sin() + 0.5 * (t / 17).cos() + 0.1 * torch.randn(700, generator=generator)
    whole = series.unfold(0, length + horizon, 1)
    x, y = whole[:, :length, None], whole[:, length:]
    return (x[:500], y[:500]), (x[530:], y[530:])
