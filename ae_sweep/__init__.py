"""ae-sweep measures the rate-distortion trade-off of autoencoders with tracked sweeps.

``load_sweep`` reads a stored one; the command line, ``ae-sweep``, runs them.
"""

from ae_sweep.api import Sweep, load_sweep
from ae_sweep.version import __version__

__all__ = ["Sweep", "__version__", "load_sweep"]
