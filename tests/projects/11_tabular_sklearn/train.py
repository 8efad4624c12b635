import json

import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_wine
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

CONFIG = {"lr": 0.01, "epochs": 40, "hidden": [32, 16], "dropout": 0.2, "test_size": 0.3}
RANDOM_STATE = 42
N_CLASSES = 3


class TabularNet(nn.Module):
    def __init__(self, n_features, hidden, n_classes, dropout):
        super().__init__()
        layers = []
        for width in hidden:
            layers += [nn.Linear(n_features, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(dropout)]
            n_features = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(n_features, n_classes)

    def forward(self, x):
        return self.head(self.body(x))


def load_data():
    X, y = load_wine(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=CONFIG["test_size"], random_state=RANDOM_STATE, stratify=y
    )
    scaler = StandardScaler()
    X_train = scaler.fit_transform(X_train)
    X_test = scaler.transform(X_test)
    tensors = [torch.tensor(a, dtype=torch.float32) for a in (X_train, X_test)]
    return (*tensors, torch.tensor(y_train), torch.tensor(y_test))


def fit(model, X, y, lr, epochs):
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=15, gamma=0.5)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.05)
    for _ in range(epochs):
        model.train()
        for idx in torch.randperm(len(X)).split(32):
            optimizer.zero_grad()
            loss = criterion(model(X[idx]), y[idx])
            loss.backward()
            optimizer.step()
        scheduler.step()
    return model


def report(model, X, y):
    model.eval()
    with torch.no_grad():
        probabilities = model(X).softmax(1).numpy()
    predicted = probabilities.argmax(1)
    nll = -np.log(probabilities[np.arange(len(y)), y.numpy()] + 1e-9).mean()
    return {"f1": f1_score(y.numpy(), predicted, average="macro"), "nll": float(nll), "n": len(y)}


if __name__ == "__main__":
    X_train, X_test, y_train, y_test = load_data()
    net = TabularNet(X_train.shape[1], CONFIG["hidden"], N_CLASSES, CONFIG["dropout"])
    fit(net, X_train, y_train, CONFIG["lr"], CONFIG["epochs"])
    print(json.dumps(report(net, X_test, y_test)))
