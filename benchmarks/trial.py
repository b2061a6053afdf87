"""Measures what one trial costs on this machine: training, evaluation, and everything around.

Run it with ``make bench``, on a machine that does nothing else. JSON with ``--json``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import platformdirs

from ae_sweep import data, plots, tracking, training
from ae_sweep.config import Choices, SearchSpace, Store, SweepConfig, TrialConfig
from ae_sweep.records import Point, Role

DIMS = (2, 32, 128, 1024)
ROUNDS = 5


def training_speed(images: training.DeviceImages, precision: training.Precision) -> list[dict]:
    """Measure every dim once a round, so that a noisy moment hits all of them."""
    rounds = [
        [training.measure_speed(d, images, model="conv", precision=precision) for d in DIMS]
        for _ in range(ROUNDS)
    ]
    rows = []
    for index, dim in enumerate(DIMS):
        epochs = [speeds[index].epoch_seconds for speeds in rounds]
        images_per_second = len(images.train_NCHW) / statistics.median(epochs)
        rows.append(
            {
                "latent_dim": dim,
                "images_per_second": round(images_per_second),
                "epoch_seconds": round(statistics.median(epochs), 1),
                "epoch_seconds_min_max": [round(min(epochs), 1), round(max(epochs), 1)],
            }
        )
    return rows


def tracking_seconds(dim: int) -> list[float]:
    """Time all that tracking does for a trial of one epoch on generated images, a few times."""
    with tempfile.TemporaryDirectory() as directory:
        shapes = data.load("shapes", cache_dir=Path(directory))
        images = training.place(shapes, training.resolve_device("cpu"))
        config = SweepConfig(
            name="bench",
            dims=(dim,),
            space=SearchSpace(lr=Choices((4e-3,)), epochs=Choices((1,))),
            trials=1,
        )
        store = tracking.open_for_writing(Store(Path(directory)))
        writer = store.start_sweep(config, card=shapes.card, environment={})
        return [_track_one(writer, images, dim, seed) for seed in range(ROUNDS + 1)][1:]


def _track_one(
    writer: tracking.SweepWriter, images: training.DeviceImages, dim: int, seed: int
) -> float:
    trial = TrialConfig(latent_dim=dim, lr=4e-3, epochs=1, seed=seed)
    running = training.train(trial, images)
    results = []
    while True:
        try:
            results.append(next(running))
        except StopIteration as end:
            result = end.value
            break
    point = Point(
        dataset_digest=images.card.digest, model="conv", latent_dim=dim, lr=4e-3, epochs=1,
        seed=seed, recipe=training.RECIPE.version,
    )  # fmt: skip
    started = time.perf_counter()
    log = writer.start_trial(name=f"d={dim}", point=point, role=Role.SEARCH, parameters={})
    for epoch in results:
        log.log_epoch(epoch)
    figure = plots.reconstructions_figure(result.pictures, test_mse=result.test_mse)
    log.finish(result, picture=plots.render(figure, "png"))
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args().json
    training.prepare_process()
    device = training.resolve_device("auto")
    mnist = data.load("mnist", cache_dir=platformdirs.user_cache_path("ae-sweep"))
    precision = training.choose_precision(
        device, model="conv", image_shape=(1, 28, 28), batch_size=training.RECIPE.batch_size
    )
    speeds = training_speed(training.place(mnist, device), precision)
    overheads = {dim: tracking_seconds(dim) for dim in DIMS}
    if as_json:
        print(json.dumps({"precision": precision.name, "training": speeds, "tracking": overheads}))
        return
    print(f"{training.describe_device(device)}, {precision.name}; {ROUNDS} rounds, interleaved")
    print("latent dim  images/s  epoch (s)  min to max    tracking (s)  min to max")
    for row in speeds:
        low, high = row["epoch_seconds_min_max"]
        seconds = overheads[row["latent_dim"]]
        print(
            f"{row['latent_dim']:>10}  {row['images_per_second']:>8}  {row['epoch_seconds']:>9}  "
            f"{low:>4} to {high:<4}  {statistics.median(seconds):>14.2f}  "
            f"{min(seconds):.2f} to {max(seconds):.2f}"
        )


if __name__ == "__main__":
    main()
