"""The catalogue on the networks of small training scripts: each rewrite that fits keeps the sizes that the script needs."""

import random

import pytest
import torch

from agent.genome.rewrites import CATALOGUE
from agent.genome.rewrites.catalogue import apply_any
from agent.genome.rewrites.constants import is_setting, retune
from agent.genome.rewrites.training import FALLBACK

IMPORTS = "import math\nimport torch\nimport torch.nn as nn\nimport torch.nn.functional as F\n"
NETWORKS = {}
NETWORKS["mnist"] = (
    """class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, 1)
        self.conv2 = nn.Conv2d(32, 64, 3, 1)
        self.dropout1 = nn.Dropout(0.25)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = F.max_pool2d(x, 2)
        x = self.dropout1(x)
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        return F.log_softmax(self.fc2(x), dim=1)
""",
    "Net()",
    (2, 1, 28, 28),
    (2, 10),
)
NETWORKS["cifar"] = (
    """class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x):
        x = self.pool(torch.relu(self.conv1(x)))
        x = self.pool(self.conv2(x).relu())
        x = x.view(-1, 400)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)
""",
    "Net()",
    (2, 3, 32, 32),
    (2, 10),
)
NETWORKS["vae"] = (
    """class VAE(nn.Module):
    def __init__(self):
        super(VAE, self).__init__()
        self.fc1 = nn.Linear(784, 400)
        self.fc21 = nn.Linear(400, 20)
        self.fc22 = nn.Linear(400, 20)
        self.fc3 = nn.Linear(20, 400)
        self.fc4 = nn.Linear(400, 784)

    def forward(self, x):
        h1 = F.relu(self.fc1(x.view(-1, 784)))
        mu, logvar = self.fc21(h1), self.fc22(h1)
        std = torch.exp(0.5 * logvar)
        z = mu + torch.randn_like(std) * std
        h3 = F.relu(self.fc3(z))
        return torch.sigmoid(self.fc4(h3))
""",
    "VAE()",
    (2, 1, 28, 28),
    (2, 784),
)
NETWORKS["mlp"] = (
    """class MLP(nn.Module):
    def __init__(self, hidden=64):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, hidden), nn.ReLU(), nn.Dropout(p=0.5), nn.Linear(hidden, 4))
        for m in self.modules():
            if isinstance(m, nn.Linear):
                nn.init.zeros_(m.bias)

    def forward(self, x):
        return self.net(x)
""",
    "MLP()",
    (5, 8),
    (5, 4),
)
NETWORKS["seq"] = (
    """def make_model():
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.LeakyReLU(0.1), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 8 * 8, 256), nn.ReLU(), nn.Linear(256, 10))
""",
    "make_model()",
    (2, 3, 32, 32),
    (2, 10),
)
NETWORKS["resblock"] = (
    """class Net(nn.Module):
    expansion = 1

    def __init__(self, num_classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.conv2 = nn.Conv2d(64, 64, kernel_size=3, stride=1, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.linear = nn.Linear(64 * 1, num_classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        identity = x
        out = self.bn2(self.conv2(x)) + identity
        out = F.relu(out)
        out = F.adaptive_avg_pool2d(out, 1)
        out = out.view(out.size(0), -1)
        return self.linear(out)
""",
    "Net()",
    (2, 3, 16, 16),
    (2, 10),
)
NETWORKS["attn"] = (
    """class Block(nn.Module):
    def __init__(self, dim=64, n_heads=8, dropout=0.1):
        super().__init__()
        self.ln = nn.LayerNorm(64)
        self.attn = nn.MultiheadAttention(64, 8, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 64), nn.Dropout(dropout))

    def forward(self, x):
        y = self.ln(x)
        x = x + self.attn(y, y, y)[0]
        return x + self.mlp(x)
""",
    "Block()",
    (2, 5, 64),
    (2, 5, 64),
)
NETWORKS["lstm"] = (
    """class RNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(100, 32)
        self.lstm = nn.LSTM(32, 64, num_layers=2, batch_first=True, bidirectional=True, dropout=0.2)
        self.fc = nn.Linear(128, 2)

    def forward(self, x):
        out, _ = self.lstm(self.embed(x.abs().long() % 100))
        return self.fc(out[:, -1])
""",
    "RNN()",
    (2, 7),
    (2, 2),
)
NETWORKS["auto"] = (
    """class AE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(28 * 28, 128), nn.ReLU(True), nn.Linear(128, 64), nn.ReLU(True), nn.Linear(64, 12))
        self.decoder = nn.Sequential(nn.Linear(12, 64), nn.ReLU(True), nn.Linear(64, 128), nn.ReLU(True),
                                     nn.Linear(128, 28 * 28), nn.Tanh())

    def forward(self, x):
        return self.decoder(self.encoder(x))
""",
    "AE()",
    (2, 784),
    (2, 784),
)
NETWORKS["ac"] = (
    """class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.affine1 = nn.Linear(4, 128)
        self.action_head = nn.Linear(128, 2)
        self.value_head = nn.Linear(128, 1)

    def forward(self, x):
        x = F.relu(self.affine1(x))
        return torch.cat([F.softmax(self.action_head(x), dim=-1), self.value_head(x)], -1)
""",
    "Policy()",
    (2, 4),
    (2, 3),
)
NETWORKS["unet"] = (
    """class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.d1 = nn.Conv2d(3, 16, 3, padding=1)
        self.d2 = nn.Conv2d(16, 32, 3, padding=1)
        self.up = nn.ConvTranspose2d(32, 16, 2, stride=2)
        self.o = nn.Conv2d(32, 16, 3, padding=1)
        self.last = nn.Conv2d(16, 1, 1)

    def forward(self, x):
        a = F.relu(self.d1(x))
        b = F.relu(self.d2(F.max_pool2d(a, 2)))
        b = F.interpolate(self.up(b), size=(16, 16))
        return self.last(F.relu(self.o(torch.cat([a, b], 1))))
""",
    "UNet()",
    (2, 3, 16, 16),
    (2, 1, 16, 16),
)
NETWORKS["dcgan"] = (
    """class D(nn.Module):
    def __init__(self, ngpu=1):
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(3, 64, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(64, 128, 4, 2, 1, bias=False), nn.BatchNorm2d(128), nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(128, 1, 4, 1, 0, bias=False), nn.Sigmoid())

    def forward(self, x):
        return self.main(x).view(-1, 1).squeeze(1)
""",
    "D()",
    (2, 3, 16, 16),
    (2,),
)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_what_fits_keeps_the_shapes(name):
    source, make, inputs, outputs = NETWORKS[name]
    torch.set_num_threads(1)
    for rewrite in (*CATALOGUE, FALLBACK):
        for seed in range(4):
            change = apply_any(source, [rewrite], random.Random(seed))
            if change is not None:
                space = {"__name__": "model"}
                exec(IMPORTS + change.imports + "\n" + change.source, space)
                result = eval(make, space)(torch.rand(*inputs))
                assert tuple(result.shape) == outputs, change.description


@pytest.mark.parametrize("line", ["IN_CHANNELS = 16", "INPUT_DIM = 8", "NUM_CLASSES = 10", "CHANNELS = 3", "IMG_WIDTH = 28"])
def test_what_the_data_fixes_is_no_setting(line):
    assert all(retune(line + "\n", random.Random(seed)) is None for seed in range(8))


def test_a_share_of_a_split_is_no_setting():
    assert is_setting("lr") and is_setting("dropout") and not is_setting("test_size") and not is_setting("default")
