"""A stored model behind ``predict``, as MLflow's ``pyfunc`` flavour loads it.

A logged model carries a copy of this module and calls ``_load_pyfunc``; models of version 0.1.0
have none and import it from ae-sweep. Nothing is unpickled.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ae_sweep.errors import ConfigError
from ae_sweep.models import storage
from ae_sweep.models.trained import TrainedAutoencoder

if TYPE_CHECKING:
    import numpy as np

    from ae_sweep.models.autoencoder import Autoencoder


class ServedAutoencoder:
    """A trained autoencoder with the methods MLflow calls."""

    def __init__(self, model: Autoencoder) -> None:
        self._model = TrainedAutoencoder(model)

    def get_raw_model(self) -> Autoencoder:
        """Return the torch module, with ``encode``, ``decode``, ``encoder`` and ``decoder``."""
        return self._model.network

    def predict(
        self, data: np.ndarray[Any, Any], params: dict[str, Any] | None = None
    ) -> np.ndarray[Any, Any]:
        """Reconstruct images, or return their latents.

        Parameters
        ----------
        data
            Images, N×C×H×W, float32 in [0, 1].
        params
            ``{"output": "reconstruction"}``, the default, or ``{"output": "latent"}``.

        Returns
        -------
        numpy.ndarray
            Float32: N×C×H×W images in [0, 1], or N×latent_dim latents.

        Raises
        ------
        ConfigError
            For another output, or images of another shape.
        """
        output: Literal["reconstruction", "latent"] = (params or {}).get("output", "reconstruction")
        if output not in ("reconstruction", "latent"):
            raise ConfigError(f"output must be 'reconstruction' or 'latent', got {output!r}")
        return self._model.encode(data) if output == "latent" else self._model.reconstruct(data)


def _load_pyfunc(path: str) -> ServedAutoencoder:
    return ServedAutoencoder(storage.load(Path(path)))
