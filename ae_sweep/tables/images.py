"""Tables of own images: what was found in them, and their spectrum."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ae_sweep.tables.table import Column, Table

if TYPE_CHECKING:
    from ae_sweep.analysis import Spectrum
    from ae_sweep.data import ImageFacts

NAMES_SHOWN = 6
"""Of sizes, modes, classes or endings, in one cell."""


def image_facts(facts: ImageFacts, digest: str) -> Table:
    """Return what was found in own images, one fact per row."""
    channels, height, width = facts.image_shape
    rows = {
        "images": f"{sum(facts.counts.values()):,}",
        "split": f"{facts.split}: "
        + ", ".join(f"{count:,} {part}" for part, count in facts.counts.items()),
        "shape": f"{height}×{width}, {'grey' if channels == 1 else 'colour'}",
        "sizes": _listed(facts.sizes, facts.size_count),
        "modes": _listed(facts.modes),
        "files": _listed(facts.formats),
        "classes": _listed(facts.classes) if facts.classes else "none",
        "duplicates": f"{facts.duplicates:,}",
        "leaks": f"{facts.leaks:,}",
        "transparent": f"{facts.transparent:,}",
        "resized": f"{facts.resized:,}",
        "16 bits": f"{facts.sixteen_bits:,}",
        "animated": f"{facts.animated:,}",
        "broken": f"{len(facts.broken):,}",
        "other files": _listed(facts.others) if facts.others else "0",
        "digest": digest,
    }
    return Table(
        caption=f"Images of {facts.name}",
        columns=(
            Column(key="fact", title="Fact", kind=str),
            Column(key="value", title="Value", kind=str),
        ),
        rows=tuple({"fact": name, "value": value} for name, value in rows.items()),
    )


def spectrum(measured: Spectrum) -> Table:
    """Return the spectrum, one number of components per row; the first row is the mean image."""
    rows = [{"components": 0, "variance": 0.0, "test_mse": measured.mean_mse}]
    rows += [
        {"components": count, "variance": share, "test_mse": mse}
        for count, share, mse in zip(
            measured.components, measured.variance, measured.test_mse, strict=True
        )
    ]
    return Table(
        caption=f"Principal components of {measured.images:,} training images; 0 is their mean",
        columns=(
            Column(key="components", title="Components", kind=int),
            Column(key="variance", title="Variance", form="{:.1%}"),
            Column(key="test_mse", title="Test MSE", form="{:.5f}"),
        ),
        rows=tuple(rows),
    )


def _listed(counts: tuple[tuple[str, int], ...], distinct: int | None = None) -> str:
    distinct = len(counts) if distinct is None else distinct
    listed = ", ".join(f"{name} ({count:,})" for name, count in counts[:NAMES_SHOWN])
    return f"{distinct:,} in all: {listed}, ..." if distinct > NAMES_SHOWN else listed
