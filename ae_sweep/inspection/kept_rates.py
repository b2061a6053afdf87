"""Measured rates as they are kept: with their run in MLflow, else in the user cache."""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ae_sweep import tracking
from ae_sweep.analysis.rate_curve import CurveKind
from ae_sweep.codec import ans
from ae_sweep.files import make_private, read_regular, write_atomically
from ae_sweep.inspection.curve_documents import curve_document, curve_from
from ae_sweep.inspection.result import RunFindings
from ae_sweep.locations import cache_dir
from ae_sweep.tracking import names

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ae_sweep.analysis.rate_curve import RateCurve
    from ae_sweep.inspection.model_coding import CodedModel

SCHEMA = "ae-sweep/coded-rates"
SCHEMA_VERSION = 1
METHOD = 1
"""Version of the measurement: a rate of another one is measured again."""
CACHE = "rates"
MOST_DOCUMENT_BYTES = 2**24


@dataclass(frozen=True, kw_only=True)
class KeptRates:
    """The measured rate of a model, without the codec itself."""

    run_id: str
    sweep: str
    dataset_digest: str
    model_sha256: str
    codec: str | None
    """Digest of the codec, 32 hexadecimal digits; None if it has none."""
    curves: tuple[RateCurve, ...]
    notes: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """Return it as a JSON-able document."""
        return {
            "schema": SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "method": METHOD,
            "run_id": self.run_id,
            "sweep": self.sweep,
            "dataset_digest": self.dataset_digest,
            "model_sha256": self.model_sha256,
            "codec": self.codec,
            "notes": list(self.notes),
            "curves": [curve_document(curve) for curve in self.curves],
        }

    def findings(self, codec: bytes | None) -> RunFindings:
        """Return what is added to the run."""
        rows = [row for curve in self.curves for row in _rows(curve)]
        files = {
            names.CODED_DOCUMENT: _json(self.document()),
            names.CODED_TABLE: tracking.table_json(rows),
            names.CODED_CSV: tracking.table_csv(rows).encode(),
        }
        if codec is not None:
            files[names.CODEC_FILE] = codec
        return RunFindings(
            curves=_metrics(self.curves),
            files=files,
            table=names.CODED_TABLE,
            tags={} if self.codec is None else {names.CODEC: self.codec},
        )


def kept_rates(
    run_id: str,
    *,
    sweep: str,
    dataset_digest: str,
    model_sha256: str,
    coded: CodedModel,
) -> KeptRates:
    """Return what is kept of a measurement."""
    return KeptRates(
        run_id=run_id,
        sweep=sweep,
        dataset_digest=dataset_digest,
        model_sha256=model_sha256,
        codec=coded.digest,
        curves=coded.curves,
        notes=coded.notes,
    )


def parse(content: bytes | None) -> KeptRates | None:
    """Read a document back.

    Returns
    -------
    KeptRates or None
        None if there is none, it is damaged or of another method, or its code lengths are
        estimates and there is a coder by now: all of that is measured again.
    """
    if content is None or len(content) > MOST_DOCUMENT_BYTES:
        return None
    try:
        document = json.loads(content)
        same = (document["schema"], document["schema_version"], document["method"]) == (
            SCHEMA,
            SCHEMA_VERSION,
            METHOD,
        )
        if not same:
            return None
        kept = KeptRates(
            run_id=str(document["run_id"]),
            sweep=str(document["sweep"]),
            dataset_digest=str(document["dataset_digest"]),
            model_sha256=str(document["model_sha256"]),
            codec=None if document["codec"] is None else str(document["codec"]),
            curves=tuple(map(curve_from, document["curves"])),
            notes=tuple(map(str, document["notes"])),
        )
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    estimated = any(curve.kind is CurveKind.ESTIMATED for curve in kept.curves)
    return None if estimated and ans.is_available() else kept


def read_cached(model_sha256: str, dataset_digest: str) -> KeptRates | None:
    """Return what the user cache has of a model's rate on these images."""
    kept = parse(_content(_folder(model_sha256, dataset_digest) / names.CODED_DOCUMENT))
    same = kept is not None and (kept.model_sha256, kept.dataset_digest) == (
        model_sha256,
        dataset_digest,
    )
    return kept if same else None


def cached_codec(kept: KeptRates) -> bytes | None:
    """Return the codec that the user cache has of these rates."""
    folder = _folder(kept.model_sha256, kept.dataset_digest)
    return _content(folder / names.CODEC_FILE, most=names.MAX_FILE_BYTES)


def cached_of_codec(digest: str) -> Iterator[KeptRates]:
    """Yield the rates in the user cache whose codec has this digest."""
    root = cache_dir() / CACHE
    for file in sorted(root.glob(f"*/{names.CODED_DOCUMENT}")) if root.is_dir() else ():
        kept = parse(_content(file))
        if kept is not None and kept.codec == digest:
            yield kept


def write_cache(kept: KeptRates, codec: bytes | None) -> None:
    """Keep a rate in the user cache, unless that cannot be written: it is measured again then."""
    folder = _folder(kept.model_sha256, kept.dataset_digest)
    with contextlib.suppress(OSError):
        make_private(folder)
        if codec is not None:
            write_atomically(folder / names.CODEC_FILE, codec)
        write_atomically(folder / names.CODED_DOCUMENT, _json(kept.document()))


def drop_cached(kept: KeptRates) -> None:
    """Remove from the user cache what MLflow keeps now."""
    shutil.rmtree(_folder(kept.model_sha256, kept.dataset_digest), ignore_errors=True)


def _folder(model_sha256: str, dataset_digest: str) -> Path:
    # Both come from a store: what is not a hexadecimal number is left out of a path.
    name = f"{model_sha256[:32]}-{dataset_digest[:32]}"
    return cache_dir() / CACHE / (name if name.replace("-", "").isalnum() else "none")


def _content(file: Path, most: int = MOST_DOCUMENT_BYTES) -> bytes | None:
    try:
        return read_regular(file, most_bytes=most)
    except OSError:
        return None


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=1, allow_nan=False).encode()


def _metrics(curves: tuple[RateCurve, ...]) -> dict[str, dict[int, float]]:
    """Return the coded points by measure and number of the operating point."""
    metrics: dict[str, dict[int, float]] = {}
    for curve in curves:
        for point in curve.points:
            if point.index is None:
                continue
            for measure in ("bits", "mse", "psnr", "val_bits", "val_mse"):
                if (value := getattr(point, measure)) is not None:
                    metrics.setdefault(measure, {})[point.index] = value
    return metrics


def _rows(curve: RateCurve) -> list[dict[str, object]]:
    return [
        {
            "point": point.index,
            "setting": point.setting,
            "kind": str(curve.kind),
            "bits": point.bits,
            "bpp": curve.bpp(point),
            "mse": point.mse,
            "psnr": point.psnr,
            "mean_image_psnr": point.mean_image_psnr,
            "val_bits": point.val_bits,
            "val_mse": point.val_mse,
            "table_bytes": point.table_bytes,
        }
        for point in curve.points
    ]
