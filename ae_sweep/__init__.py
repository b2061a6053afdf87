"""ae-sweep measures the rate-distortion trade-off of autoencoders with tracked sweeps."""

from ae_sweep.version import __version__

__all__ = ["__version__"]
