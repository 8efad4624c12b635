#!/usr/bin/env python
"""Fine-tunes a small text classifier with a Trainer."""

import logging
import sys
from dataclasses import dataclass, field
from typing import Optional

import numpy as np
import torch
import torch.nn as nn
from trainer import Trainer, TrainingArguments, parse_dataclasses

logger = logging.getLogger(__name__)


@dataclass
class ModelArguments:
    """Which model to train."""

    hidden_size: int = field(default=32, metadata={"help": "width of the encoder"})
    num_hidden_layers: int = field(default=1)
    num_attention_heads: int = field(default=4)
    hidden_dropout_prob: float = field(default=0.1)
    num_labels: int = field(default=3)
    vocab_size: int = field(default=60)


@dataclass
class DataArguments:
    max_seq_length: int = field(default=12)
    max_train_samples: Optional[int] = field(default=400)
    max_eval_samples: Optional[int] = field(default=200)


class Encoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position = nn.Parameter(torch.zeros(1, 64, config.hidden_size))
        layer = nn.TransformerEncoderLayer(
            config.hidden_size, config.num_attention_heads, 2 * config.hidden_size, config.hidden_dropout_prob, batch_first=True
        )
        self.layer = nn.TransformerEncoder(layer, config.num_hidden_layers)

    def forward(self, input_ids):
        return self.layer(self.embeddings(input_ids) + self.position[:, : input_ids.size(1)])


class ModelForSequenceClassification(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.num_labels = config.num_labels
        self.encoder = Encoder(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, input_ids, labels=None):
        logits = self.classifier(self.dropout(self.encoder(input_ids)[:, 0]))
        loss = nn.functional.cross_entropy(logits.view(-1, self.num_labels), labels.view(-1)) if labels is not None else None
        return {"loss": loss, "logits": logits}


def build_dataset(n, args, model_args, seed):
    rng = np.random.default_rng(seed)
    ids = rng.integers(3, model_args.vocab_size, (n, args.max_seq_length))
    ids[:, 0] = 0
    return [{"input_ids": torch.tensor(row), "labels": torch.tensor(int(row[1:4].sum()) // 60 % 3)} for row in ids]


def compute_metrics(eval_pred):
    logits, labels = eval_pred
    return {"accuracy": float((np.argmax(logits, axis=1) == labels).mean())}


def main():
    model_args, data_args, training_args = parse_dataclasses(sys.argv[1:], ModelArguments, DataArguments, TrainingArguments)
    logging.basicConfig(format="%(asctime)s - %(levelname)s - %(name)s - %(message)s", level=logging.INFO)
    logger.info(f"Training/evaluation parameters {training_args}")
    model = ModelForSequenceClassification(model_args)
    trainer = Trainer(
        model=model,
        args=training_args,
        train_dataset=build_dataset(data_args.max_train_samples, data_args, model_args, 0),
        eval_dataset=build_dataset(data_args.max_eval_samples, data_args, model_args, 1),
        compute_metrics=compute_metrics,
    )
    trainer.train()
    metrics = trainer.evaluate()
    metrics["eval_samples"] = data_args.max_eval_samples
    trainer.log_metrics("eval", metrics)


if __name__ == "__main__":
    main()
