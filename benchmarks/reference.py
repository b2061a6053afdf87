"""The plain way, to compare with: the autoencoder and its training as a tutorial writes them.

DataLoader and ToTensor, batches of 128, Adam at 1e-3, a cosine over the epochs, float32, the
gradient's norm clipped at 1. It shares no line with the product, so that nothing the product gains
helps it. Run alone, it trains the whole reference and prints one JSON line an epoch:

    python -m benchmarks.reference --dims 2 8 32 128 1024 --epochs 15
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import multiprocessing
import time
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset

from benchmarks.images import MNIST, torchvision_root, train_indices

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection
    from pathlib import Path

    from benchmarks.images import Images

BATCH_SIZE = 128
LR = 1e-3
PIXELS = 28 * 28


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
        Which of the training images to train on; those the product trains on.
    epochs
        Length of the cosine schedule.
    """

    def __init__(
        self, root: Path, *, latent_dim: int, epochs: int, train_indices: list[int], seed: int = 0
    ) -> None:
        from torchvision import datasets, transforms  # noqa: PLC0415 - takes seconds to import

        torch.manual_seed(seed)
        as_tensor = transforms.ToTensor()
        train = Subset(datasets.MNIST(root, train=True, transform=as_tensor), train_indices)
        test = datasets.MNIST(root, train=False, transform=as_tensor)
        self.test_images = len(test)
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
        """Measure the mean squared error per pixel of the test images."""
        self.model.eval()
        with torch.no_grad():
            errors = [
                nn.functional.mse_loss(self.model(x), x, reduction="sum").item()
                for x, _ in self.test_loader
            ]
        return float(sum(errors)) / (self.test_images * PIXELS)


class ReferenceProcess:
    """A reference in a process of its own, so that nothing the product sets there helps it.

    It works only when it is asked to; leave the context to end it.
    """

    def __init__(self, images: Images, *, latent_dim: int, epochs: int) -> None:
        self._images = images
        self._latent_dim = latent_dim
        self._epochs = epochs
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> ReferenceProcess:
        context = multiprocessing.get_context("spawn")
        with contextlib.ExitStack() as stack:
            root = stack.enter_context(torchvision_root(self._images))
            self._pipe, theirs = context.Pipe()
            process = context.Process(
                target=_serve,
                args=(theirs, root, self._images, self._latent_dim, self._epochs),
                daemon=True,
            )
            process.start()
            stack.callback(process.join)
            stack.callback(process.kill)
            theirs.close()  # else an answer would be waited for after the process has died
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def images_per_second(self, steps: int) -> float:
        """Train on for a number of steps and return their speed."""
        return self._answer(steps)

    def test_mse_of_an_epoch(self) -> float:
        """Train one epoch from fresh weights, and measure the test images."""
        return self._answer(None)

    def _answer(self, question: int | None) -> float:
        self._pipe.send(question)
        try:
            answer: float = self._pipe.recv()
        except EOFError:
            raise RuntimeError("the reference's process has died; its error is above") from None
        return answer


def _serve(pipe: Connection, root: Path, images: Images, latent_dim: int, epochs: int) -> None:
    indices = train_indices(images)

    def fresh() -> Reference:
        return Reference(root, latent_dim=latent_dim, epochs=epochs, train_indices=indices)

    reference = fresh()
    steps = itertools.chain.from_iterable(reference.epoch() for _ in itertools.count())
    while True:
        count = pipe.recv()
        if count is None:
            whole = fresh()
            sum(whole.epoch())
            pipe.send(whole.test_mse())
        else:
            started = time.perf_counter()
            trained = sum(itertools.islice(steps, count))
            pipe.send(trained / (time.perf_counter() - started))


def main() -> None:
    """Train the whole reference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dims", nargs="+", type=int, default=[2, 8, 32, 128, 1024])
    parser.add_argument("--epochs", type=int, default=15)
    options = parser.parse_args()
    with torchvision_root(MNIST) as root:
        for dim in options.dims:
            _train(root, latent_dim=dim, epochs=options.epochs)


def _train(root: Path, *, latent_dim: int, epochs: int) -> None:
    indices = train_indices(MNIST)
    reference = Reference(root, latent_dim=latent_dim, epochs=epochs, train_indices=indices)
    for epoch in range(1, epochs + 1):
        started = time.perf_counter()
        sum(reference.epoch())
        line = {
            "latent_dim": latent_dim,
            "epoch": epoch,
            "seconds": round(time.perf_counter() - started, 1),
            "test_mse": round(reference.test_mse(), 6),
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
