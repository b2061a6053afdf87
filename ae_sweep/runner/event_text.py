"""Events of a running sweep in words, for every kind of progress display."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ae_sweep.sweep import Trial, TrialEnded, TrialValidated


def settings(trial: Trial) -> str:
    """Write what a trial trains with: ``lr 0.004, 2 epochs``."""
    return str(trial.config.hyperparameters)


def state(event: TrialValidated) -> str:
    """Write how far a trial is: ``epoch 0.5 of 2, val MSE 0.01234``."""
    epoch, epochs = event.result.epoch, event.trial.config.hyperparameters.epochs
    where = f"epoch {epoch:.3g} of {epochs}"
    if epoch > epochs:
        where = f"fine-tuned for {epoch - epochs:.3g} of an epoch"
    return f"{where}, val MSE {event.result.val_mse:.5f}"


def note(event: TrialValidated) -> str:
    """Write what is to be known of a trial's checkpoint; empty in most cases."""
    return f"{event.trial.name}: {event.result.note}" if event.result.note else ""


def ended(event: TrialEnded) -> str:
    """Write how a trial ended, with its errors or the reason."""
    text = f"{event.outcome} ({settings(event.trial)})"
    if event.result is not None:
        return f"{text}, val MSE {event.result.val_mse:.5f}, test MSE {event.result.test_mse:.5f}"
    if event.reason:
        text = f"{text}: {event.reason}"
    return f"{text}; trying again" if event.again else text


def counted_at_most(trials: int, *, chosen: bool) -> str:
    """Write how many trials there are to be: exactly, or at most, where dims are chosen."""
    return f"at most {trials}" if chosen else str(trials)
