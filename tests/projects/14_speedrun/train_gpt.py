import os
import sys

with open(sys.argv[0]) as f:
    code = f.read()  # read the code of this file ASAP, for logging
import time
import uuid
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# -----------------------------------------------------------------------------
# Muon optimizer


def zeropower_via_newtonschulz5(G: Tensor, steps: int) -> Tensor:
    """Newton-Schulz iteration to orthogonalise G."""
    assert G.ndim >= 2
    a, b, c = (3.4445, -4.7750, 2.0315)
    X = G
    if G.size(-2) > G.size(-1):
        X = X.mT
    X = X / (X.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        A = X @ X.mT
        B = b * A + c * A @ A
        X = a * X + B @ X
    if G.size(-2) > G.size(-1):
        X = X.mT
    return X


class Muon(torch.optim.Optimizer):
    def __init__(self, params, lr=0.02, momentum=0.95, nesterov=True, ns_steps=5):
        super().__init__(params, dict(lr=lr, momentum=momentum, nesterov=nesterov, ns_steps=ns_steps))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                g = p.grad
                state = self.state[p]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(g)
                buf = state["momentum_buffer"]
                buf.lerp_(g, 1 - group["momentum"])
                g = g.lerp_(buf, group["momentum"]) if group["nesterov"] else buf
                g = zeropower_via_newtonschulz5(g, steps=group["ns_steps"])
                p.add_(g, alpha=-group["lr"] * max(1, p.size(-2) / p.size(-1)) ** 0.5)


# -----------------------------------------------------------------------------
# model


def norm(x: Tensor):
    return F.rms_norm(x, (x.size(-1),))


class CausalSelfAttention(nn.Module):
    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.qkv_w = nn.Parameter(torch.randn(3 * dim, dim) * 0.5 * dim**-0.5)
        self.c_proj = nn.Linear(dim, dim, bias=False)
        self.c_proj.weight.detach().zero_()

    def forward(self, x: Tensor):
        B, T, C = x.shape
        q, k, v = F.linear(x, self.qkv_w).view(B, T, 3 * self.num_heads, -1).transpose(1, 2).chunk(3, dim=1)
        y = F.scaled_dot_product_attention(norm(q), norm(k), v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).reshape(B, T, C))


class MLP(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        hdim = 4 * dim
        self.c_fc = nn.Linear(dim, hdim, bias=False)
        self.c_proj = nn.Linear(hdim, dim, bias=False)
        self.c_proj.weight.detach().zero_()

    def forward(self, x: Tensor):
        return self.c_proj(F.relu(self.c_fc(x)).square())


class GPT(nn.Module):
    def __init__(self, vocab_size: int, num_layers: int, num_heads: int, model_dim: int):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, model_dim)
        self.attn = nn.ModuleList([CausalSelfAttention(model_dim, num_heads) for _ in range(num_layers)])
        self.mlp = nn.ModuleList([MLP(model_dim) for _ in range(num_layers)])
        self.lambdas = nn.Parameter(torch.ones(num_layers))
        self.lm_head = nn.Linear(model_dim, vocab_size, bias=False)

    def forward(self, input_seq: Tensor, target_seq: Tensor):
        x = x0 = norm(self.embed(input_seq))
        for i in range(len(self.mlp)):
            x = self.lambdas[i] * x + (1 - self.lambdas[i]) * x0
            x = x + self.attn[i](norm(x))
            x = x + self.mlp[i](norm(x))
        logits = 15 * torch.tanh(self.lm_head(norm(x)) / 15)
        return F.cross_entropy(logits.view(-1, logits.size(-1)), target_seq.view(-1))


# -----------------------------------------------------------------------------
# data


def data_generator(sequence: Tensor, batch_size: int, seq_len: int):
    while True:
        starts = torch.randint(len(sequence) - seq_len - 1, (batch_size,)).tolist()
        yield torch.stack([sequence[i : i + seq_len] for i in starts]), torch.stack([sequence[i + 1 : i + seq_len + 1] for i in starts])


@dataclass
class Hyperparameters:
    num_iterations: int = 20  # number of iterations to run
    cooldown_frac: float = 0.4  # fraction of training spent cooling down the learning rate
    val_loss_every: int = 10
    vocab_size: int = 48
    seq_len: int = 32


args = Hyperparameters()
run_id = uuid.uuid4()


def print0(s):
    print(s)
    with open(os.path.join("logs", f"{run_id}.txt"), "a") as f:
        print(s, file=f)


def get_lr(step: int):
    x = step / args.num_iterations
    return 1.0 if x < 1 - args.cooldown_frac else (1 - x) / args.cooldown_frac


os.makedirs("logs", exist_ok=True)
print0(f"code: {len(code)} characters, Running PyTorch {torch.version.__version__}")
tokens = ((torch.arange(6000) ** 2 // 7 + torch.arange(6000)) % args.vocab_size).long()
train_loader = data_generator(tokens[:5000], 16, args.seq_len)
val_x, val_y = next(data_generator(tokens[5000:], 32, args.seq_len))
model = GPT(args.vocab_size, num_layers=2, num_heads=2, model_dim=32)
hidden_matrix_params = [p for n, p in model.named_parameters() if p.ndim >= 2 and "embed" not in n and "lm_head" not in n]
other_params = [model.embed.weight, model.lm_head.weight, model.lambdas]
optimizers = [torch.optim.Adam(other_params, lr=0.02, betas=(0.8, 0.95), eps=1e-10), Muon(hidden_matrix_params, lr=0.03)]
for opt in optimizers:
    for group in opt.param_groups:
        group["initial_lr"] = group["lr"]

training_time_ms, t0 = 0, time.perf_counter()
for step in range(args.num_iterations + 1):
    last_step = step == args.num_iterations
    if last_step or step % args.val_loss_every == 0:
        training_time_ms += 1000 * (time.perf_counter() - t0)
        model.eval()
        with torch.no_grad():
            val_loss = model(val_x, val_y)
        seconds = training_time_ms / 1000
        print0(f"step:{step}/{args.num_iterations} val_loss:{val_loss:.4f} train_time:{seconds:.1f}s step_avg:{seconds * 50:.2f}ms")
        model.train()
        t0 = time.perf_counter()
    if last_step:
        break
    inputs, targets = next(train_loader)
    model(inputs, targets).backward()
    for opt in optimizers:
        for group in opt.param_groups:
            group["lr"] = group["initial_lr"] * get_lr(step)
        opt.step()
    model.zero_grad(set_to_none=True)
