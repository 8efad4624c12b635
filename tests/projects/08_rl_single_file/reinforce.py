# Policy gradient in a single file, with its own small environment.
import os
import random
import time
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim
from torch.distributions.categorical import Categorical


@dataclass
class Args:
    exp_name: str = os.path.basename(__file__)[: -len(".py")]
    """the name of this experiment"""
    torch_deterministic: bool = True
    """if toggled, `torch.backends.cudnn.deterministic=False`"""
    num_envs: int = 8
    """the number of parallel environments"""
    num_iterations: int = 12
    """how often the policy is updated"""
    num_steps: int = 32
    """steps of each environment for an update"""
    learning_rate: float = 1e-2
    anneal_lr: bool = True
    gamma: float = 0.97
    gae_lambda: float = 0.95
    ent_coef: float = 0.01
    vf_coef: float = 0.5
    max_grad_norm: float = 0.5


class CorridorEnv:
    """A ball on a line has to be held near the middle; each step there is worth one."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def reset(self):
        self.x, self.v, self.t = self.rng.uniform(-0.5, 0.5), self.rng.uniform(-0.1, 0.1), 0
        return np.array([self.x, self.v], dtype=np.float32)

    def step(self, action):
        self.v += 0.04 * (2 * action - 1) + self.rng.normal(0, 0.01)
        self.x += self.v
        self.t += 1
        done = abs(self.x) > 1 or self.t >= 60
        return np.array([self.x, self.v], dtype=np.float32), 1.0, done


def layer_init(layer, std=np.sqrt(2), bias_const=0.0):
    torch.nn.init.orthogonal_(layer.weight, std)
    torch.nn.init.constant_(layer.bias, bias_const)
    return layer


class Agent(nn.Module):
    def __init__(self):
        super().__init__()
        self.critic = nn.Sequential(layer_init(nn.Linear(2, 32)), nn.Tanh(), layer_init(nn.Linear(32, 1), std=1.0))
        self.actor = nn.Sequential(layer_init(nn.Linear(2, 32)), nn.Tanh(), layer_init(nn.Linear(32, 2), std=0.01))

    def get_value(self, x):
        return self.critic(x)

    def get_action_and_value(self, x, action=None):
        probs = Categorical(logits=self.actor(x))
        if action is None:
            action = probs.sample()
        return action, probs.log_prob(action), probs.entropy(), self.critic(x)


def compute_gae(args, rewards, values, dones, next_value):
    advantages = torch.zeros_like(rewards)
    lastgaelam = 0
    for t in reversed(range(args.num_steps)):
        following = next_value if t == args.num_steps - 1 else values[t + 1]
        delta = rewards[t] + args.gamma * following * (1 - dones[t]) - values[t]
        advantages[t] = lastgaelam = delta + args.gamma * args.gae_lambda * (1 - dones[t]) * lastgaelam
    return advantages


if __name__ == "__main__":
    args = Args()
    run_name = f"{args.exp_name}__{int(time.time())}"
    seed = int(os.environ.get("EVOLVE_SEED", "1"))
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic = args.torch_deterministic

    envs = [CorridorEnv(seed + i) for i in range(args.num_envs)]
    agent = Agent()
    optimizer = optim.Adam(agent.parameters(), lr=args.learning_rate, eps=1e-5)
    next_obs = torch.tensor(np.stack([env.reset() for env in envs]))
    returns, lengths = np.zeros(args.num_envs), []
    for iteration in range(1, args.num_iterations + 1):
        if args.anneal_lr:
            optimizer.param_groups[0]["lr"] = (1.0 - (iteration - 1.0) / args.num_iterations) * args.learning_rate
        obs, actions, rewards, dones = [], [], [], []
        for _ in range(args.num_steps):
            with torch.no_grad():
                action, _, _, _ = agent.get_action_and_value(next_obs)
            obs.append(next_obs)
            actions.append(action)
            step = [env.step(int(a)) for env, a in zip(envs, action, strict=True)]
            returns += [reward for _, reward, _ in step]
            for i, (_, _, done) in enumerate(step):
                if done:
                    lengths.append(returns[i])
                    returns[i] = 0
            rewards.append(torch.tensor([reward for _, reward, _ in step]))
            dones.append(torch.tensor([float(done) for _, _, done in step]))
            next_obs = torch.tensor(np.stack([e.reset() if done else o for e, (o, _, done) in zip(envs, step, strict=True)]))
        b_obs, b_actions = torch.stack(obs), torch.stack(actions)
        _, logprob, entropy, value = agent.get_action_and_value(b_obs, b_actions)
        with torch.no_grad():
            last = agent.get_value(next_obs).squeeze(-1)
            advantages = compute_gae(args, torch.stack(rewards), value.squeeze(-1), torch.stack(dones), last)
        target = advantages + value.squeeze(-1).detach()
        scaled = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        v_loss = 0.5 * ((value.squeeze(-1) - target) ** 2).mean()
        loss = -(scaled * logprob).mean() - args.ent_coef * entropy.mean() + v_loss * args.vf_coef
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(agent.parameters(), args.max_grad_norm)
        optimizer.step()
        print(f"global_step={iteration * args.num_steps * args.num_envs}, episodic_return={np.mean(lengths[-40:]):.2f}")
