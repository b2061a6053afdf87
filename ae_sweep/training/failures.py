"""Translation of torch's errors: the machine's failures to errors of ours, everything else left.

torch reports a lack of memory, a failing library and a wrong shape by one and the same class,
RuntimeError. The first two fail a trial; the last one is a bug and must not pass for one of them.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

import torch

from ae_sweep.errors import AeSweepError, DeviceLostError, TrainingFailedError, lacks_memory
from ae_sweep.messages import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

LIBRARY_FAILURE = re.compile(
    # Not BAD_PARAM, INVALID_VALUE or NOT_SUPPORTED: these say that the arguments are wrong.
    r"\bCU[A-Z]+_(STATUS_)?(NOT_INITIALIZED|EXECUTION_FAILED|INTERNAL_ERROR|MAPPING_ERROR"
    r"|ARCH_MISMATCH|EXEC_FAILED)"
    r"|unable to find an engine to execute|Unable to find a valid cuDNN algorithm"  # no workspace
    r"|could not (create a primitive$|create a memory object|execute a primitive)"  # oneDNN
)
DEVICE_FAILURE = re.compile(r"\b(CUDA|HIP) (driver )?error: (?!(CU|HIP|ROC)[A-Z]+_)")
BUG_CODES = {1, 9, 98, 400, 710}
"""cudaError_t of a wrong argument, launch configuration, function or handle, and of a failed
assertion in a kernel, which is what an index out of range comes to."""
BUG_TEXT = re.compile(
    r"invalid (argument|configuration argument|device function|resource handle)|assert"
)


@contextlib.contextmanager
def environment_errors() -> Iterator[None]:
    """Translate what torch raises where the machine failed, not the program.

    Raises
    ------
    TrainingFailedError
        For a lack of memory, or a failure inside cuDNN, cuBLAS, oneDNN or the like.
    DeviceLostError
        For a GPU that has failed.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        translated = translate(error)
        if translated is None:
            raise
        raise translated from error


def translate(error: RuntimeError | MemoryError) -> AeSweepError | None:
    """Return the error of ours for one that torch or Python raised, None for a bug."""
    text = str(error)
    reason = visible(re.sub(r"^\[enforce fail at .*?\] .*?\. ", "", text.partition("\n")[0]), 200)
    if isinstance(error, torch.OutOfMemoryError) or lacks_memory(error):
        return TrainingFailedError(
            f"out of memory ({reason or type(error).__name__}); fewer --workers or smaller --dims "
            "need less"
        )
    if LIBRARY_FAILURE.search(text):
        return TrainingFailedError(f"a library of torch failed: {reason}")
    if isinstance(error, torch.AcceleratorError) or DEVICE_FAILURE.search(text):
        code = getattr(error, "error_code", None)
        is_bug = code in BUG_CODES if code is not None else BUG_TEXT.search(text)
        return None if is_bug else DeviceLostError(f"the device failed: {reason}")
    return None
