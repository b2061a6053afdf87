"""``ae-sweep identity``: whether a network has learned its images, or to copy any."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from ae_sweep.api import load_sweep
from ae_sweep.cli.console import print_json, print_table, say
from ae_sweep.cli.error_handler import handled
from ae_sweep.cli.logged import log_or_say
from ae_sweep.cli.options import (
    DataDirOption,
    DimsOption,
    JsonOption,
    MovedOption,
    StoreOption,
    SweepArgument,
)
from ae_sweep.cli.output_file import check_out, out_option, write_figure
from ae_sweep.config.parsing import some_dims


@handled
def identity(
    sweep: SweepArgument = None,
    dims: DimsOption = None,
    out: Annotated[Path | None, out_option("identity")] = None,
    dataset: MovedOption = None,
    data_dir: DataDirOption = None,
    store: StoreOption = None,
    json_output: JsonOption = False,
) -> None:
    """Test whether networks have learned to copy: on noise, inverted and permuted images.

    At and past as many latents as pixels a network could pass everything, as PCA does. Each dim's
    best model rebuilds the first 2,000 test images (fewer if they are large), the same inverted,
    with permuted pixels, uniform noise, and of grey 28×28 images another data set (shapes). The
    numbers are also logged to the runs in MLflow, picture and table to the sweep's.

    Example: ae-sweep identity --dims 1024
    """
    check_out(out)
    wanted = some_dims(dims)

    from ae_sweep import inspection, tables

    opened = load_sweep(sweep, store=store, dataset=dataset, data_dir=data_dir, announce=say)
    test = inspection.identity_test(opened, opened.points(wanted))
    for line in test.notes:
        say(line)
    path = out or Path(f"identity-{opened.name}.png")
    write_figure(test.figure, path)
    if json_output:
        print_json(test.document())
    else:
        print_table(tables.copy_test(test.results))
    for line in test.findings:
        say(line)
    log_or_say(opened, test)
    say(f"figure: {path}")
