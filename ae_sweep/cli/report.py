"""``ae-sweep report``: all results of a sweep on one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit, urlunsplit

import typer

from ae_sweep.api import load_sweep
from ae_sweep.cli.console import say
from ae_sweep.cli.error_handler import handled
from ae_sweep.cli.logged import log_or_say
from ae_sweep.cli.options import DataDirOption, MovedOption, StoreOption, SweepArgument
from ae_sweep.cli.output_file import check_out, write_out
from ae_sweep.cli.targets import (
    TargetAccuracyOption,
    TargetMseOption,
    TargetPsnrOption,
    given_targets,
)
from ae_sweep.cli.ui import DEFAULT_PORT
from ae_sweep.errors import StoreError
from ae_sweep.messages import visible
from ae_sweep.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ae_sweep.report import Section

ENDINGS = ("html", "htm")


@handled
def report(
    sweep: SweepArgument = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="Where the page goes. [default: report-SWEEP.html here]"
        ),
    ] = None,
    target_psnr: TargetPsnrOption = None,
    target_mse: TargetMseOption = None,
    target_accuracy: TargetAccuracyOption = None,
    dataset: MovedOption = None,
    data_dir: DataDirOption = None,
    store: StoreOption = None,
) -> None:
    """Write all results of a sweep on one HTML page that needs no network.

    Summary, curve, rates in bits if they were measured, reconstructions, latent space, identity
    test, the search, and how to reproduce it. The pictures are also logged to the sweep's run in
    MLflow. Links lead to the runs where ae-sweep ui shows them. A section whose models or images
    cannot be read gives the reason; the page is written all the same, and the exit code is 3.

    Example: ae-sweep report
    """
    check_out(out, endings=ENDINGS)
    targets = given_targets(psnr=target_psnr, mse=target_mse, accuracy=target_accuracy)

    from ae_sweep import report as page

    opened = load_sweep(sweep, store=store, dataset=dataset, data_dir=data_dir, announce=say)
    if target_accuracy is not None:
        from ae_sweep.inspection.agreement import check_classes

        check_classes(opened.dataset)
    address = _ui_address(opened.store.tracking_override)
    made = page.sections(opened, announce=say, ui_address=address, targets=targets)
    model, title = opened.frontier.model, opened.frontier.dataset or ""
    html = page.render_page(
        title=opened.name,
        subtitle=f"Rate and distortion of the model {model} on {visible(title)}",
        sections=made,
        version=__version__,
    )
    path = out or Path(f"report-{opened.name}.html")
    content = html.encode()
    write_out(content, path, what="report")
    log_or_say(opened, *(found for section in made for found in section.found))
    say(f"report: {path} ({len(content) / 1e6:.1f} MB)")
    _refuse_incomplete(made)


def _refuse_incomplete(made: Sequence[Section]) -> None:
    """Raise the first error of sections that could not be made."""
    errors = {section.title: section.error for section in made if section.error is not None}
    if not errors:
        return
    first = next(iter(errors.values()))
    raise StoreError(f"the report is incomplete: {', '.join(errors)}: {first}")


def _ui_address(tracking: str | None) -> str:
    """Return where the runs are shown: the user's own server, without a password, or ours."""
    parts = urlsplit(tracking or "")
    if parts.scheme not in ("http", "https"):
        return f"http://127.0.0.1:{DEFAULT_PORT}"
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
