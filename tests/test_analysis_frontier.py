"""From trials to the frontier, its document and its table."""

import dataclasses
import json
import os
import random
from pathlib import Path

import pytest

from ae_sweep.analysis.document import to_document, to_table
from ae_sweep.analysis.frontier import frontier
from ae_sweep.config import Hyperparameters
from ae_sweep.errors import ConfigError, NotStoredError, StoreError
from ae_sweep.records import Outcome, Role, TrialIdentity, TrialRecord

GOLDEN = Path(__file__).parent / "golden" / "frontier.json"
FACTS = {2: 0.0414, 8: 0.0160, 32: 0.0040, 128: 0.0016, 1024: 0.0013}


def trial(
    latent_dim,
    test_mse,
    *,
    val_mse=None,
    lr=4e-3,
    epochs=2,
    seed=0,
    role=Role.SEARCH,
    outcome=Outcome.FINISHED,
    **point,
):
    identity = {"dataset_digest": "abc", "model": "conv", "recipe": "1"} | point
    return TrialRecord(
        run_id=f"run-{latent_dim}-{lr:g}-{epochs}-{seed}",
        sweep="first",
        name="some",
        point=TrialIdentity(
            latent_dim=latent_dim,
            hyperparameters=Hyperparameters(lr=lr, epochs=epochs),
            seed=seed,
            **identity,
        ),
        role=role,
        outcome=outcome,
        pixels=784,
        compression_ratio=784 / latent_dim,
        val_mse=test_mse if val_mse is None else val_mse,
        test_mse=test_mse,
    )


def sweep():
    """Five dims; of each a worse trial, and two repeats of the best."""
    trials = []
    for dim, mse in FACTS.items():
        trials.append(trial(dim, mse))
        trials.append(trial(dim, 1.2 * mse, lr=1e-3))
        trials.append(trial(dim, 1.05 * mse, seed=1, role=Role.REPEAT))
        trials.append(trial(dim, 0.98 * mse, seed=2, role=Role.REPEAT))
    return trials


def test_each_dim_is_represented_by_its_best_on_validation_not_on_test():
    chosen = trial(8, 0.020, val_mse=0.010, lr=1e-3)
    luckier_on_test = trial(8, 0.010, val_mse=0.011, lr=4e-3)
    (point,) = frontier([luckier_on_test, chosen]).points
    assert (point.run_id, point.hyperparameters.lr) == (chosen.run_id, 1e-3)
    assert (point.val_mse, point.test_mse) == (0.010, 0.020)


def test_repeats_are_averaged_but_never_chosen():
    trials = [
        trial(8, 0.010),
        trial(8, 0.012, seed=1, role=Role.REPEAT),
        trial(8, 0.014, seed=2, role=Role.REPEAT),
        trial(8, 0.001, lr=1e-3, role=Role.REPEAT),
    ]
    (point,) = frontier(trials).points
    assert point.hyperparameters.lr == 4e-3
    assert point.test_mse == pytest.approx(0.012)
    assert point.test_mse_std == pytest.approx(0.002)
    assert point.seeds == 3
    assert point.test_psnr == pytest.approx(19.2082, abs=1e-4)
    assert point.compression_ratio == 98


def test_one_training_stored_twice_is_one_seed():
    again = dataclasses.replace(trial(8, 0.010), run_id="again")
    (point,) = frontier([trial(8, 0.010), again]).points
    assert (point.seeds, point.test_mse_std) == (1, None)


@pytest.mark.parametrize("outcome", [o for o in Outcome if o is not Outcome.FINISHED])
def test_a_trial_that_is_not_finished_is_never_a_point(outcome):
    trials = [trial(8, 0.010), trial(8, 0.001, lr=1e-3, outcome=outcome)]
    trials.append(trial(32, 0.001, outcome=outcome))
    result = frontier(trials)
    (point,) = result.points
    assert (point.latent_dim, point.test_mse) == (8, 0.010)
    assert (point.trials_finished, point.trials_total) == (1, 2)
    assert [each.test_mse for each in result.all_trials] == [0.010]
    assert result.notes == ("d=32 not on the curve: no finished search trial",)


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (0, "no trial is stored, so"),
        (1, "the only trial has not finished, so"),
        (3, "none of the 3 trials has finished, so"),
    ],
)
def test_without_a_finished_trial_there_is_nothing_to_draw_but_a_way_to_go_on(count, message):
    trials = [trial(8, 0.01, outcome=Outcome.PRUNED)] * count
    with pytest.raises(NotStoredError, match=message) as told:
        frontier(trials, sweep="first")
    assert "--resume completes the sweep" in str(told.value)


@pytest.mark.parametrize(
    ("field", "message"),
    [("model", "models"), ("dataset_digest", "data sets"), ("recipe", "recipes")],
)
def test_trials_of_different_curves_are_not_joined(field, message):
    trials = [trial(8, 0.01), trial(32, 0.01, **{field: "other[bold]\n"})]
    with pytest.raises(ConfigError, match=rf"different {message} \(.*'other\[bold\]\\n'"):
        frontier(trials)


@pytest.mark.parametrize("mse", [None, float("nan"), float("inf"), -0.1])
@pytest.mark.parametrize("field", ["val_mse", "test_mse"])
def test_a_finished_trial_without_its_measurement_is_an_error(field, mse):
    broken = dataclasses.replace(trial(8, 0.01), **{field: mse})
    with pytest.raises(StoreError, match=rf"'run-8-0.004-2-0' is marked finished, but its {field}"):
        frontier([trial(2, 0.04), broken])


def test_the_pixels_are_those_of_the_trials_whatever_their_ratio_was_rounded_to():
    odd = dataclasses.replace(trial(7, 0.01), pixels=783, compression_ratio=111.9)
    result = frontier([odd])
    assert result.pixels == 783
    assert result.points[0].compression_ratio == 783 / 7


def test_points_ascend_and_do_not_depend_on_the_order_of_trials():
    trials = sweep()
    result = frontier(trials)
    assert [point.latent_dim for point in result.points] == list(FACTS)
    random.Random(0).shuffle(trials)
    assert frontier(trials) == result


def test_gain_is_told_per_doubling_since_the_point_before():
    points = frontier([trial(2, 0.04), trial(8, 0.01), trial(16, 0.01)]).points
    gains = [point.db_per_doubling for point in points]
    assert gains[0] is None
    assert gains[1:] == pytest.approx([3.0103, 0], abs=1e-4)


def test_fit_takes_only_dims_that_compress_and_the_knee_takes_all():
    result = frontier(sweep())
    assert result.fit is not None
    assert result.fit.dims == (2, 8, 32, 128)
    assert result.notes == ("d=1024 left out of the fit: no compression at or above 784 pixels",)
    assert result.knee is not None
    assert result.knee.latent_dim == 128


def test_a_perfect_reconstruction_is_a_point_without_psnr_and_left_out_of_the_fit():
    result = frontier([*sweep(), trial(256, 0.0), trial(512, 0.0)])
    perfect = [point for point in result.points if point.latent_dim in {256, 512}]
    assert [point.test_psnr for point in perfect] == [None, None]
    assert [point.db_per_doubling for point in result.points][-3:] == [None, None, None]
    assert result.fit is not None
    assert result.fit.dims == (2, 8, 32, 128)
    assert result.notes[0].startswith("d=256, 512 left out of the fit: a perfect reconstruction")


def test_too_few_points_keep_their_points_and_say_why_there_is_no_fit():
    result = frontier([trial(2, 0.04)])
    assert len(result.points) == 1
    assert result.fit is None
    assert "at least 4" in str(result.fit_refusal)
    assert result.knee is None
    assert "at least 3" in str(result.knee_refusal)


def test_document_survives_strict_json_and_names_its_schema():
    result = frontier([*sweep(), trial(512, 0.0)], dataset="mnist")
    document = to_document(result)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert (document["schema"], document["schema_version"]) == ("ae-sweep/frontier", 1)
    assert document["dataset"] == "mnist"
    assert document["points"][4]["test_psnr"] is None
    assert document["knee"]["advice"].startswith("beyond d=128")
    assert set(document["units"]) - {"fit"} <= set(document["points"][0])


def test_table_has_the_columns_of_the_command_line_and_one_row_a_dim():
    table = to_table(frontier([*sweep(), trial(512, 0.0)]))
    assert list(table.columns) == [
        "Latent dim",
        "Compression",
        "Test MSE",
        "PSNR (dB)",
        "best lr",
        "epochs",
    ]
    assert table["Latent dim"].tolist() == [2, 8, 32, 128, 512, 1024]
    assert table["Compression"][0] == 392
    assert table["PSNR (dB)"].isna().tolist() == [False] * 4 + [True, False]


def test_frontier_of_a_known_sweep_is_the_golden_one():
    document = to_document(frontier(sweep(), dataset="mnist"))
    if os.environ.get("AE_SWEEP_WRITE_GOLDEN") == "1":
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    assert GOLDEN.exists(), "no golden frontier; write one with: make golden"
    assert_alike(document, json.loads(GOLDEN.read_text(encoding="utf-8")))


def assert_alike(value, golden, at="document"):
    """Compare to six digits: another processor's logarithm may differ in the last."""
    if isinstance(golden, dict):
        assert value.keys() == golden.keys(), at
        for key in golden:
            assert_alike(value[key], golden[key], f"{at}.{key}")
    elif isinstance(golden, list):
        assert len(value) == len(golden), at
        for index, item in enumerate(golden):
            assert_alike(value[index], item, f"{at}[{index}]")
    elif isinstance(golden, float):
        assert value == pytest.approx(golden, rel=1e-6), at
    else:
        assert value == golden, at
