"""Measures how fast this machine trains, on a machine that does nothing else.

JSON with ``--json``. What a trial costs beside its training, ``overhead.py`` measures.
"""

from __future__ import annotations

import argparse
import json
import statistics

import platformdirs

from ae_sweep import data, training

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


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args().json
    training.keep_freed_memory()
    device = training.resolve_device("auto")
    mnist = data.load("mnist", cache_dir=platformdirs.user_cache_path("ae-sweep"))
    precision = training.choose_precision(
        device, model="conv", image_shape=(1, 28, 28), batch_size=training.RECIPE.batch_size
    )
    speeds = training_speed(training.place(mnist, device), precision)
    if as_json:
        print(json.dumps({"precision": precision.name, "training": speeds}))
        return
    print(f"{training.describe_device(device)}, {precision.name}; {ROUNDS} rounds, interleaved")
    print("latent dim  images/s  epoch (s)  min to max")
    for row in speeds:
        low, high = row["epoch_seconds_min_max"]
        print(
            f"{row['latent_dim']:>10}  {row['images_per_second']:>8}  {row['epoch_seconds']:>9}  "
            f"{low:>4} to {high:<4}"
        )


if __name__ == "__main__":
    main()
