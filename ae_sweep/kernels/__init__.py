"""Own kernels for training on a CPU: what takes its time beside convolutions, in fewer passes.

They are compiled on the user's machine, if that has a C++ compiler. torch computes the same without
them, slower.
"""

from ae_sweep.kernels.choice import Kernels, kernels

__all__ = ["Kernels", "kernels"]
