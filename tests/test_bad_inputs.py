"""Every kind of bad input through the command line or Python: its exit code and its message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import bad_inputs
import pytest

import ae_sweep
from ae_sweep.config import Choices, Range
from ae_sweep.errors import AeSweepError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

RUN = ("run", "--dataset", "shapes", "--dry-run")


class Bad(NamedTuple):
    """An input that is refused."""

    words: tuple[str, ...] | Callable[[], object]
    """A command line, in which @/ is the directory of the bad files, or a call in Python."""
    code: int
    says: tuple[str, ...]
    """Pieces of the message: the value, and what to do next."""
    tracking: str = ""
    """MLFLOW_TRACKING_URI; PORTAL and BROKEN are servers that answer 200 and 500."""


def _run(*words: str, code: int = 2, says: tuple[str, ...]) -> Bad:
    return Bad((*RUN, *words), code, says)


def _data(*words: str, code: int = 3, says: tuple[str, ...]) -> Bad:
    return Bad(("data", *words), code, says)


def _show(store: str, *says: str, command: str = "list") -> Bad:
    return Bad((command, "--store", store), 3, says)


def _file(name: str, *says: str, command: str = "inspect", code: int = 3) -> Bad:
    return Bad((command, f"@/{name}", "--store", "@/no sweep"), code, says)


def _call(call: Callable[[], object], *says: str) -> Bad:
    return Bad(call, 2, says)


def _server(tracking: str, *says: str, command: str = "list") -> Bad:
    return Bad((command,), 3, says, tracking)


INPUTS = {
    # The command line's words.
    "no such command": Bad(("fronteir",), 2, ("'fronteir'", "'frontier'")),
    "no such option": Bad(("run", "--latent-dims", "2"), 2, ("--latent-dims",)),
    "a word too many": Bad(("list", "everything"), 2, ("everything",)),
    "an option without its value": Bad(("run", "--name"), 2, ("--name", "requires an argument")),
    "dims of none": _run("--dims", says=("--dims is empty", "--dims 2 8")),
    "a dim of 0": _run("--dims", "0", says=("at least 1", "got 0")),
    "a dim that is a word": _run("--dims", "many", says=("--dims 'many'", "whole number")),
    "a dim of thirty digits": _run("--dims", "1" * 30, says=("1" * 30, "leave it out of --dims")),
    "a dim of 5,000 digits": _run("--dims", "1" * 5_000, says=("5000 characters",)),
    "an lr of nan": _run("--lr", "nan", says=("positive finite number", "got nan")),
    "an lr of inf": _run("--lr", "1e-3:inf", says=("positive finite number", "got inf")),
    "a range backwards": _run("--lr", "1e-2:1e-3", says=("0.01:0.001", "smaller bound first")),
    "epochs and a half": _run("--epochs", "1.5", says=("--epochs '1.5'", "whole number")),
    "no trials": _run("--trials", "0", says=("trials must be at least 1", "got 0")),
    "repeats below 0": _run("--repeats", "-1", says=("must not be negative", "got -1")),
    "a seed too large": _run("--seed", str(2**31), says=("from 0 to 2147483647",)),
    "more images than there are": _run("--train-limit", "99999", says=("99,999", "at most 2200")),
    "a name with a step up": _run("--name", "../x", says=("'../x'", "letters, digits")),
    "a name with markup": _run("--name", "[bold]x", says=("'[bold]x'", "letters, digits")),
    "a name with a newline": _run("--name", "a\nb", says=(r"'a\nb'", "letters, digits")),
    "a formula as a name": _run("--name", "=1+1", says=("'=1+1'", "letters, digits")),
    "resumed without a name": _run("--resume", says=("--resume needs", "ae-sweep list")),
    "no such sampler": _run("--sampler", "tep", says=("'tep'", "did you mean 'tpe'?")),
    "no such pruner": _run("--pruner", "medain", says=("'medain'", "did you mean 'median'?")),
    "no such model": _run("--model", "cnov", says=("'cnov'", "conv")),
    "no such device": _run("--device", "tpu", says=("'tpu'", "auto, cpu, cuda")),
    "workers of 0": _run("--workers", "0", says=("--workers '0'", "from 1 to 64")),
    "a port of 0": Bad(("ui", "--port", "0"), 2, ("from 1 to 65535, got 0", "--port")),
    "two forms at once": Bad(("frontier", "--csv", "--json"), 2, ("--csv and --json",)),
    "an unknown ending": Bad(("frontier", "--out", "x.exe"), 2, ("'x.exe'", "png, svg or pdf")),
    "a file in no directory": Bad(
        ("frontier", "--out", "@/nowhere/x.png"), 3, ("is in no directory", "another file")
    ),
    "an address as a file": Bad(
        ("report", "--out", "http://127.0.0.1/x.html"), 2, ("is an address", "write a file here")
    ),
    "two ways to choose a point": Bad(
        ("encode", "@/broken", "-o", "x.aes", "--bits", "8", "--psnr", "20"), 2, ("give one",)
    ),
    "a PSNR that no image has": Bad(
        ("encode", "@/broken", "-o", "x.aes", "--psnr", "4000"), 2, ("200 dB, got 4000",)
    ),
    "less than no bits": Bad(
        ("encode", "@/broken", "-o", "x.aes", "--bits", "-1"), 2, ("--bits", "got -1")
    ),
    "a target that no image has": Bad(
        ("frontier", "--target-psnr", "4000"), 2, ("200 dB, got 4000",)
    ),
    "a file that is there": Bad(
        ("encode", "@/broken", "-o", "@/text.txt"), 4, ("is there already", "--force")
    ),
    # Settings from Python.
    "Python: dims of none": _call(lambda: ae_sweep.plan_sweep(dims=[]), "dims", "at least one"),
    "Python: a dim that is a text": _call(lambda: ae_sweep.plan_sweep(dims=["two"]), "'two'"),
    "Python: a dim of half": _call(lambda: ae_sweep.plan_sweep(dims=[2.5]), "2.5"),
    "Python: an lr of 0": _call(lambda: ae_sweep.plan_sweep(dims=[2], lr=0.0), "lr", "got 0"),
    "Python: a store that is an address": _call(
        lambda: ae_sweep.list_sweeps(store="https://ada:secret@host"),
        "'https://ada:***@host' is an address", "MLFLOW_TRACKING_URI",
    ),
    "Python: a choice of nothing": _call(lambda: Choices(()), "at least one"),
    "Python: a range of one": _call(lambda: Range(2, 2), "2:2"),
    "Python: no such data set": _call(lambda: ae_sweep.load_dataset("mnits"), "mean 'mnist'"),
    # Files of images.
    "an empty file": _data("@/empty", code=2, says=("no known file extension", ".npz, .npy")),
    "one picture": _data("@/text.png", code=2, says=("is one picture", "name a folder")),
    "a pickle": _data("@/objects.pkl", code=2, says=("no known file extension",)),
    "a pipe": _data("@/pipe.npy", says=("is not a regular file",)),
    "a link to itself": _data("@/loop", says=("symbolic links", "name another")),
    "a link to nothing": _data("@/gone", says=("does not exist", "name a folder")),
    "a folder without pictures": _data("@/no pictures", code=2, says=("has no pictures",)),
    "pictures of two sizes": _data("@/two sizes", code=2, says=("2 sizes", "--image-size 8")),
    "a single picture in a folder": _data("@/one picture", code=2, says=("at least 24 are",)),
    "pictures that are cut off": _data("@/broken", says=("none of the 20", "is cut off")),
    "rows of numbers": _data("@/flat.npy", says=("the shape 40×64", "N×H×W")),
    "Python objects": _data("@/objects.npy", says=("never read because they can run code",)),
    "Python objects in an archive": _data("@/objects.npz", says=("'images'", "never read")),
    "floats": _data("@/floats.npy", code=2, says=("float64", "--scale")),
    "wide integers": _data("@/wide.npy", says=("int64", "astype('uint8')")),
    "complex numbers": _data("@/complex.npy", says=("complex128", "save them as uint8")),
    "no images": _data("@/none.npy", says=("0×8×8", "no pixels")),
    "a torn array": _data("@/torn.npy", says=("2,560 bytes, and holds 2,550",)),
    "a torn header": _data("@/header.npy", says=("damaged header",)),
    "an array that claims 4 TB": _data("@/claimed.npy", says=("4,096,000,000,000 bytes",)),
    "arrays of unknown names": _data("@/unnamed.npz", says=("'a', 'b'", "x_train")),
    "an archive with a step up": _data("@/foreign.npz", says=("'../../escaped'",)),
    "half an image size": _data("@/two sizes", "--image-size", "8x", code=2, says=("'8x'",)),
    "no such fit": _data(
        "@/two sizes", "--image-size", "8", "--fit", "squeeze", code=2, says=("only crop, pad",)
    ),
    "an address of images": _run("--dataset", "s3://b/x", says=("is an address", "download")),
    "options for a named set": _data("mnist", "--image-size", "8", code=2, says=("leave out",)),
    # Codec files.
    "an empty coded file": _file("empty", "too short for its header: 0 bytes of 41"),
    "another program's file": _file("foreign.aes", "it starts with other bytes"),
    "a pickle as a coded file": _file("pickle.aes", "it starts with other bytes"),
    "a coded file that is cut off": _file("short.aes", "11 bytes of 41", "copy it again"),
    "a coded file of a newer version": _file("newer.aes", "version 99", "newer ae-sweep"),
    "unknown flags": _file("flags.aes", "0xff", "damaged, or of a newer"),
    "a coded file of no images": _file("zeros.aes", "0 images", "damaged"),
    "a coded file of four billion": _file("claims.aes", "4,294,967,295 images", "1,000,000"),
    "a pipe as a coded file": _file("pipe", "not a regular file"),
    "a coded file that is not there": _file("nowhere", "cannot be read", "No such file"),
    "a folder as a coded file": _file("a dir", "not a regular file"),
    "a folder with files to decode into": Bad(
        ("decode", "@/claims.aes", "-o", "@/broken"), 4, ("files in it", "--force")
    ),
    # Stores.
    "a store of nothing": _show("@/nowhere", "nothing is stored", "ae-sweep run --dims 2 8 32"),
    "a store that is a file": _show("@/text.txt", "is a file", "name a directory with --store"),
    "a store that is an address": Bad(
        ("list", "--store", "http://ada:secret@host/?token=abc"),
        2, ("'http://ada:***@host/?token=***' is an address", "MLFLOW_TRACKING_URI"),
    ),
    "runs that are no database": _show("@/garbage", "not a database", "move it away"),
    "runs of another program": _show("@/foreign", "not MLflow's", "move it away"),
    "runs that are a directory": _show("@/a dir", "is a directory", "move it away"),
    "runs that are cut off": _show("@/cut", "malformed", "restore it from a copy"),
    "runs of a newer MLflow": _show("@/newer", "f00f00f00f00", "upgrade MLflow"),
    "a deleted experiment": _show("@/deleted", "is deleted", "mlflow experiments restore -x 1"),
    "a sweep that is not there": _show("@/no sweep", "nothing is stored", command="show"),
    "studies that are no database": _run(
        "--store", "@/optuna garbage", code=3, says=("optuna.db", "not a database", "--store")
    ),
    "studies of another program": _run(
        "--store", "@/optuna foreign", code=3, says=("not Optuna's", "move it away")
    ),
    # Servers.
    "a server that is not there": _server(
        "http://ada:secret@127.0.0.1:9", "http://ada:***@127.0.0.1:9", "refused", "or unset"
    ),
    "a server of no name": _server("http://[::1", "Invalid IPv6 URL", "start it, or unset"),
    "a server that fails": _server("BROKEN", "500", "start it, or unset"),
    "a web page": _server("PORTAL", "not in a valid JSON", "check that the tracking server runs"),
    "a word as a server": _server("nonsense", "'nonsense'", "is not an address", "--store"),
    "a folder as a server": _server("file:///tmp/x", "no longer keeps runs in plain files"),
    "a database that is not there": _server(
        "postgresql://ada:secret@127.0.0.1:9/db", "ada:***@127.0.0.1:9/db", "refused"
    ),
    "a database of no kind": _server("nodb://ada:secret@h/db", "ada:***@h/db", "unsupported URI"),
    "a sweep on a web page": _server("PORTAL", "not in a valid JSON", command="frontier"),
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make all bad files once: no test changes them."""
    place = tmp_path_factory.mktemp("bad")
    bad_inputs.make(place)
    return place


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, str]]:
    with bad_inputs.server(200) as portal, bad_inputs.server(500) as broken:
        yield {"PORTAL": portal, "BROKEN": broken}


def _outcome(cli: Callable[..., Any], given: Bad, place: Path) -> tuple[int, str, str]:
    if isinstance(given.words, tuple):
        done = cli(*(word.replace("@/", f"{place}/") for word in given.words))
        return done.code, done.err, done.out
    with pytest.raises(AeSweepError) as caught:
        given.words()
    return caught.value.exit_code, str(caught.value), ""


@pytest.mark.usefixtures("no_probe")
@pytest.mark.parametrize("name", INPUTS)
def test_a_bad_input_is_refused_with_its_exit_code_and_the_way_out(
    cli: Callable[..., Any],
    snapshot: Callable[[], object],
    monkeypatch: pytest.MonkeyPatch,
    place: Path,
    servers: dict[str, str],
    name: str,
) -> None:
    given = INPUTS[name]
    if given.tracking:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", servers.get(given.tracking, given.tracking))
    before = snapshot()
    code, said, out = _outcome(cli, given, place)
    assert (code, out) == (given.code, ""), said
    for piece in given.says:
        assert piece in said, said
    assert "Traceback" not in said
    assert "secret" not in said
    assert "a bug in ae-sweep" not in said
    assert len(said.replace(str(place), "")) < 1_200
    assert snapshot() == before, "nothing is written"


def test_there_are_sixty_bad_inputs_of_every_kind() -> None:
    assert len(INPUTS) >= 60
    assert {given.code for given in INPUTS.values()} == {2, 3, 4}
