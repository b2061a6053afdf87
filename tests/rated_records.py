"""Trials of models whose code has a rate, as the store returns them, and their frontier."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ae_sweep.analysis import frontier
from ae_sweep.config import Hyperparameters
from ae_sweep.records import Outcome, Role, TrialIdentity, TrialRecord

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ae_sweep.analysis import Frontier


def rated_trial(
    dim: int,
    model: str,
    rate: dict[str, float],
    *,
    seed: int = 0,
    test_mse: float = 0.01,
    outcome: Outcome = Outcome.FINISHED,
) -> TrialRecord:
    return TrialRecord(
        run_id=f"{dim} {model} {seed}",
        sweep="rated",
        name=f"d={dim} trial {seed}",
        point=TrialIdentity(
            dataset_digest="abc", model=model, latent_dim=dim, seed=seed, recipe="2",
            hyperparameters=Hyperparameters(lr=4e-3, epochs=2),
        ),
        role=Role.REPEAT if seed else Role.SEARCH,
        outcome=outcome,
        pixels=784,
        compression_ratio=784 / dim,
        val_mse=test_mse,
        val_penalty=0.002,
        test_mse=test_mse,
        rate=rate,
    )  # fmt: skip


def vae(dim: int, beta: float, bits: float, mse: float, active: float, **changes) -> TrialRecord:
    rate = {"bits": bits, "mse": mse, "active_latents": active}
    return rated_trial(dim, f"vae beta={beta:g}", rate, **changes)


def frontier_of(trials: Iterable[TrialRecord]) -> Frontier:
    return frontier([*trials], dataset="mnist")
