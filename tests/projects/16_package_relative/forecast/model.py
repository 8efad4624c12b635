from torch import nn

from . import defaults
from .nn import Mixer


class Forecaster(nn.Module):
    def __init__(self):
        super().__init__()
        self.lift = nn.Linear(1, defaults.CHANNELS)
        self.mixer = nn.Sequential(Mixer(defaults.LENGTH, defaults.CHANNELS), Mixer(defaults.LENGTH, defaults.CHANNELS))
        self.head = nn.Linear(defaults.LENGTH * defaults.CHANNELS, defaults.HORIZON)

    def forward(self, x):
        return self.head(self.mixer(self.lift(x)).flatten(1))
