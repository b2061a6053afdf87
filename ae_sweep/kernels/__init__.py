"""Functions in C++ for training on a CPU: BatchNorm with ReLU, narrow convolutions, rounding.

They are compiled on the user's machine, if that has g++. torch computes the same without them, but
slower.
"""

from ae_sweep.kernels.choice import Kernels, kernels

__all__ = ["Kernels", "kernels"]
