"""Numbers and sentences as a report writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ae_sweep.analysis import FrontierPoint


def psnr(point: FrontierPoint) -> str:
    """Write a point's PSNR, to follow its MSE; nothing for a perfect reconstruction."""
    return "" if point.test_psnr is None else f", {point.test_psnr:.2f} dB"


def sentence(text: str) -> str:
    """Make a sentence of a finding, which begins small unless with a condition."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text[:2] != "d=" else f"{text}."
