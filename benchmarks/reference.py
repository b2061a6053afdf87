"""The plain way, to compare with: the autoencoder and its training as a tutorial writes them.

DataLoader and ToTensor, batches of 128, Adam at 1e-3, a cosine over the epochs, float32, the
gradient's norm clipped at 1. It shares no line with the product, so that nothing the product gains
helps it. Run alone, it trains the whole reference and prints one JSON line an epoch:

    python benchmarks/reference.py --dims 2 8 32 128 1024 --epochs 15
"""

from __future__ import annotations

import argparse
import json
import time
from typing import TYPE_CHECKING

import torch
from common import mnist_root, train_indices
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BATCH_SIZE = 128
LR = 1e-3


def autoencoder(latent_dim: int) -> nn.Sequential:
    """Build the network of the product's ``conv`` model for images of 1×28×28."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
        nn.Conv2d(64, 128, 3, padding=1), nn.BatchNorm2d(128), nn.ReLU(),
        nn.Flatten(), nn.Linear(6272, latent_dim),
        nn.Linear(latent_dim, 6272), nn.Unflatten(1, (128, 7, 7)),
        nn.ConvTranspose2d(128, 64, 3, stride=2, padding=1, output_padding=1),
        nn.BatchNorm2d(64), nn.ReLU(),
        nn.ConvTranspose2d(64, 32, 3, stride=2, padding=1, output_padding=1),
        nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 1, 3, padding=1), nn.Sigmoid(),
    )  # fmt: skip


class Reference:
    """A plain training of one latent dimension.

    Parameters
    ----------
    root
        The directory that holds ``MNIST/raw``, torchvision's layout.
    train_indices
        Which of the 60,000 training images to train on; those the product trains on.
    epochs
        Length of the cosine schedule.
    """

    def __init__(
        self, root: Path, *, latent_dim: int, epochs: int, train_indices: list[int], seed: int = 0
    ) -> None:
        torch.manual_seed(seed)
        as_tensor = transforms.ToTensor()
        train = Subset(datasets.MNIST(root, train=True, transform=as_tensor), train_indices)
        test = datasets.MNIST(root, train=False, transform=as_tensor)
        self.train_loader = DataLoader(train, batch_size=BATCH_SIZE, shuffle=True)
        self.test_loader = DataLoader(test, batch_size=BATCH_SIZE)
        self.model = autoencoder(latent_dim)
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=LR)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            self.optimiser, T_max=epochs * len(self.train_loader)
        )

    def epoch(self) -> Iterator[int]:
        """Train one epoch; yield the number of images of every step, when it is done."""
        self.model.train()
        for x, _ in self.train_loader:
            self.optimiser.zero_grad()
            loss = nn.functional.mse_loss(self.model(x), x)
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimiser.step()
            self.schedule.step()
            yield len(x)

    def test_mse(self) -> float:
        """Measure the mean squared error per pixel of the 10,000 test images."""
        self.model.eval()
        with torch.no_grad():
            errors = [
                nn.functional.mse_loss(self.model(x), x, reduction="sum").item()
                for x, _ in self.test_loader
            ]
        return sum(errors) / (len(self.test_loader.dataset) * 784)


def main() -> None:
    """Train the whole reference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dims", nargs="+", type=int, default=[2, 8, 32, 128, 1024])
    parser.add_argument("--epochs", type=int, default=15)
    arguments = parser.parse_args()
    for dim in arguments.dims:
        reference = Reference(
            mnist_root(), latent_dim=dim, epochs=arguments.epochs, train_indices=train_indices()
        )
        for epoch in range(1, arguments.epochs + 1):
            started = time.perf_counter()
            sum(reference.epoch())
            line = {
                "latent_dim": dim,
                "epoch": epoch,
                "seconds": round(time.perf_counter() - started, 1),
                "test_mse": round(reference.test_mse(), 6),
            }
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
