# %% [markdown]
# # A small regression
# Exported from a notebook.

# %%
import numpy as np
import torch
from torch import nn

# %%
n_points = 600
hidden_dim = 24
learning_rate = 0.02
num_epochs = 60
dropout = 0.05
batch_size = 64

# %%
rng = np.random.default_rng(0)
X = rng.uniform(-3, 3, (n_points, 2)).astype("float32")
y = (np.sin(X[:, 0]) * np.cos(X[:, 1])).astype("float32") + rng.normal(0, 0.05, n_points).astype("float32")
X_train, X_val = torch.from_numpy(X[:450]), torch.from_numpy(X[450:])
y_train, y_val = torch.from_numpy(y[:450]), torch.from_numpy(y[450:])
X_train.shape, y_train.shape

# %%
model = nn.Sequential(
    nn.Linear(2, hidden_dim), nn.Tanh(), nn.Dropout(dropout), nn.Linear(hidden_dim, hidden_dim), nn.Tanh(), nn.Linear(hidden_dim, 1)
)
opt = torch.optim.Adam(model.parameters(), lr=learning_rate)
loss_fn = nn.MSELoss()
model

# %%
history = []
for epoch in range(num_epochs):
    model.train()
    for idx in torch.randperm(len(X_train)).split(batch_size):
        opt.zero_grad()
        loss = loss_fn(model(X_train[idx]).squeeze(1), y_train[idx])
        loss.backward()
        opt.step()
    model.eval()
    with torch.no_grad():
        val_loss = loss_fn(model(X_val).squeeze(1), y_val)
    history.append(val_loss.item())
    if epoch % 20 == 0 or epoch == num_epochs - 1:
        print("epoch", epoch, "val_loss", val_loss)

# %%
min(history)
