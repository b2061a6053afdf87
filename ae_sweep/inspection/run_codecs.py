"""Codecs of runs, opened together with the models that they belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ae_sweep.api.models import load_model
from ae_sweep.codec import storage
from ae_sweep.errors import ConfigError, DataError, NotStoredError, StoreError
from ae_sweep.inspection.model_coding import codec_digest
from ae_sweep.tracking import names

if TYPE_CHECKING:
    from ae_sweep.api import Sweep
    from ae_sweep.codec.artifact import Codec
    from ae_sweep.inspection.rates import MeasuredModel
    from ae_sweep.models import TrainedAutoencoder


class OpenCodec(NamedTuple):
    """A codec whose model was found to be the one that it was fitted to."""

    model: TrainedAutoencoder
    codec: Codec
    content: bytes
    """Of ``codec.safetensors``."""


def open_codec(sweep: Sweep, measured: MeasuredModel) -> OpenCodec:
    """Open the codec of a measured model, and load that.

    Raises
    ------
    ConfigError
        If the model could not be coded.
    NotStoredError
        If the codec or the model is gone.
    StoreError, DataError
        If one of them cannot be read, or they and the measured rates do not belong together.
    """
    run_id = measured.trial.run_id
    content = _content(sweep, measured)
    codec = storage.from_bytes(content)
    model, sha256 = load_model(sweep.runs, run_id, expected=measured.trial.point.condition)
    check_codec(codec, model, sha256=sha256, run_id=run_id)
    indices = {point.index for point in measured.coded.points} if measured.coded else set()
    if not indices <= set(range(len(codec.points))):
        raise DataError(
            f"the rates of run {run_id} name operating points that its codec does not have; "
            f"delete {names.CODED_DOCUMENT} there to have them measured again"
        )
    return OpenCodec(model, codec, content)


def check_codec(codec: Codec, model: TrainedAutoencoder, *, sha256: str, run_id: str) -> None:
    """Refuse a codec that is not its model's, before anything is decoded with it.

    Parameters
    ----------
    sha256
        Of the model's file, hexadecimal.

    Raises
    ------
    DataError
        If it names another model file, or its arrays do not fit the network.
    """
    if codec.model_sha256 != sha256:
        raise DataError(
            f"the codec of run {run_id} is of the model file with SHA-256 "
            f"{codec.model_sha256[:32]}…, and that of the run has {sha256[:32]}…: one of them was "
            "exchanged; restore it"
        )
    width = model.latent_dim
    if codec.transform is not None:
        fits = model.codebook is None and len(codec.transform.mean_D) == width
    else:
        alphabets = [point.tables.alphabet for point in codec.points]
        fits = model.codebook is not None and all(
            each.coordinates == width
            and each.low_K.min() >= 0
            and each.high_K.max() < model.codebook
            for each in alphabets
        )
    if not fits or codec.image_shape != model.image_shape:
        raise DataError(f"the codec of run {run_id} does not fit its model: restore it")


def _content(sweep: Sweep, measured: MeasuredModel) -> bytes:
    run_id = measured.trial.run_id
    if measured.kept.codec is None:
        raise ConfigError(
            f"{measured.trial.name} cannot be coded: {'; '.join(measured.kept.notes)}"
        )
    content = measured.codec or sweep.runs.run_file(run_id, names.CODEC_FILE)
    if content is None:
        raise NotStoredError(
            f"{names.CODEC_FILE} of run {run_id} is gone; restore it, or delete "
            f"{names.CODED_DOCUMENT} beside it to have it made again"
        )
    if codec_digest(content) != measured.kept.codec:
        raise StoreError(
            f"{names.CODEC_FILE} of run {run_id} is another than its rates were measured with; "
            f"restore it, or delete {names.CODED_DOCUMENT} beside it to have it made again"
        )
    return content
