"""What MLflow's UI opens with: addresses, the curve over latent_dim, the description, the views."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import rated_records as rated
import tracking_support as support
from mlflow.exceptions import MlflowException

from ae_sweep import analysis, tracking
from ae_sweep.config import Hyperparameters, ModelSetting
from ae_sweep.errors import StoreError
from ae_sweep.records import Outcome
from ae_sweep.tracking import curve, description, names, views

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlflow import MlflowClient

    from ae_sweep.analysis import FrontierPoint
    from ae_sweep.locations import Store

COMMANDS = {"Every trial": "ae-sweep show first"}
ROWS = [{"Latent dim": dim, "Test MSE": 0.1 / dim, "PSNR (dB)": None} for dim in (2, 8)]


def point(latent_dim: int, test_mse: float, **changes: Any) -> FrontierPoint:
    fields: dict[str, Any] = {
        "latent_dim": latent_dim,
        "model": "conv",
        "compression_ratio": 784 / latent_dim,
        "hyperparameters": Hyperparameters(lr=0.004, epochs=2),
        "val_mse": test_mse,
        "test_mse": test_mse,
        "test_mse_std": None,
        "test_psnr": 20.0 + latent_dim,
        "seeds": 1,
        "db_per_doubling": None,
        "run_id": f"run{latent_dim}",
        "trials_finished": 1,
        "trials_total": 1,
    }
    return analysis.FrontierPoint(**{**fields, **changes})


def start(opened: tracking.TrackingStore, **changes: Any) -> tracking.SweepWriter:
    return opened.start_sweep(
        support.config(**changes),
        card=support.CARD,
        environment=support.ENVIRONMENT,
        commands=COMMANDS,
    )


def resume(opened: tracking.TrackingStore, **changes: Any) -> tracking.SweepWriter:
    return opened.resume_sweep(support.config(**changes), card=support.CARD, commands=COMMANDS)


def finish(sweep: tracking.SweepWriter, points: Sequence[FrontierPoint], **changes: Any) -> None:
    arguments = {"figures": {}, "table": ROWS, "document": {}, "points": points}
    sweep.finish(**{**arguments, **changes})


def history(client: MlflowClient, run_id: str, key: str) -> list[tuple[int, float]]:
    return [(each.step, each.value) for each in client.get_metric_history(run_id, key)]


def note(client: MlflowClient, run_id: str) -> str:
    return str(client.get_run(run_id).data.tags[names.NOTE])


def test_an_address_opens_the_mode_for_model_training_behind_the_path_of_the_fragment() -> None:
    address = tracking.run_url("http://127.0.0.1:5000/", experiment_id="1", run_id="a b")
    assert address == (
        "http://127.0.0.1:5000/#/experiments/1/runs/a%20b?workflowType=machine_learning"
    )


def test_the_curve_is_logged_with_latent_dim_as_its_step(
    opened: tracking.TrackingStore, client: MlflowClient
) -> None:
    sweep = start(opened)
    finish(sweep, [point(2, 0.04), point(8, 0.01)])
    assert history(client, sweep.run_id, "frontier/test_mse") == [(2, 0.04), (8, 0.01)]
    assert history(client, sweep.run_id, "frontier/test_psnr") == [(2, 22.0), (8, 28.0)]
    metrics = client.get_run(sweep.run_id).data.metrics
    assert metrics == {"frontier/test_mse": 0.01, "frontier/test_psnr": 28.0}


def test_a_perfect_reconstruction_has_no_psnr_on_the_curve() -> None:
    curves = curve.curve_metrics([point(2, 0.04), point(784, 0.0, test_psnr=None)])
    assert curves["frontier/test_mse"] == {2: 0.04, 784: 0.0}
    assert curves["frontier/test_psnr"] == {2: 22.0}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_curve_has_a_value_that_is_not_finite(value: float) -> None:
    curves = curve.curve_metrics([point(2, 0.04, test_psnr=value)])
    assert curves == {"frontier/test_mse": {2: 0.04}}


def test_a_code_with_a_rate_has_a_curve_for_each_value_of_its_setting(
    opened: tracking.TrackingStore, client: MlflowClient
) -> None:
    betas = (0.1, 1.0)
    frontier = rated.frontier_of(
        rated.vae(dim, beta, bits=20 / beta, mse=0.1 / dim, active=2)
        for dim in (2, 8)
        for beta in betas
    )
    curves = curve.curve_metrics(frontier.points)
    measures = ("test_mse", "test_psnr", "rate_bits", "rate_mse")
    assert set(curves) == {f"frontier/{key}/beta {beta:g}" for key in measures for beta in betas}
    for each in frontier.points:
        beta = each.model.partition("=")[2]
        assert curves[f"frontier/rate_bits/beta {beta}"][each.latent_dim] == each.rate["bits"]
    sweep = start(opened, model="vae", settings=(ModelSetting("beta", betas),))
    finish(sweep, frontier.points)
    for key, wanted in curves.items():
        assert dict(history(client, sweep.run_id, key)) == wanted


@pytest.mark.parametrize(
    "model", ["vae beta=1e+20", "two a=1 b=2", "x ../..", "x \n'\"<b>", "x " + "y" * 400, "x ="]
)
def test_every_setting_makes_a_name_that_mlflow_takes(
    opened: tracking.TrackingStore, client: MlflowClient, model: str
) -> None:
    sweep = start(opened)
    finish(sweep, [point(2, 0.04, model=model)])
    [key] = [key for key in client.get_run(sweep.run_id).data.metrics if "test_mse" in key]
    assert key.startswith("frontier/test_mse")


def test_a_resumed_sweep_replaces_the_values_of_its_curve(
    opened: tracking.TrackingStore, client: MlflowClient
) -> None:
    """MLflow's chart draws every value that was ever logged at a step."""
    sweep = start(opened)
    finish(sweep, [point(2, 0.04), point(8, 0.01), point(32, 0.005)])
    resumed = resume(opened, dims=(2, 4, 8))
    finish(resumed, [point(2, 0.04), point(4, 0.03), point(8, 0.009)])
    assert history(client, sweep.run_id, "frontier/test_mse") == [(2, 0.04), (4, 0.03), (8, 0.009)]
    metrics = client.get_run(sweep.run_id).data.metrics
    assert metrics == {"frontier/test_mse": 0.009, "frontier/test_psnr": 28.0}


def test_a_resumed_sweep_without_news_writes_no_value_again(
    opened: tracking.TrackingStore, client: MlflowClient
) -> None:
    points = [point(2, 0.04), point(8, 0.01)]
    sweep = start(opened)
    finish(sweep, points)
    before = client.get_metric_history(sweep.run_id, "frontier/test_mse")
    finish(resume(opened), [*points, point(16, 0.008)])
    after = client.get_metric_history(sweep.run_id, "frontier/test_mse")
    kept = {each.step: each.timestamp for each in before}
    assert {each.step: each.timestamp for each in after if each.step in kept} == kept
    assert len(after) == 3


def test_a_curve_that_a_resumed_sweep_no_longer_has_is_gone(
    opened: tracking.TrackingStore, client: MlflowClient
) -> None:
    sweep = start(opened)
    finish(sweep, [point(2, 0.04, model="vae beta=1"), point(2, 0.04, model="vae beta=2")])
    finish(resume(opened), [point(2, 0.04, model="vae beta=1")])
    keys = client.get_run(sweep.run_id).data.metrics
    assert sorted(keys) == ["frontier/test_mse/beta 1", "frontier/test_psnr/beta 1"]


def test_other_metrics_and_other_runs_keep_their_values(
    opened: tracking.TrackingStore, client: MlflowClient
) -> None:
    sweep, other = start(opened), start(opened, name="other")
    for each in (sweep, other):
        finish(each, [point(2, 0.04)])
        opened.add_to_run(each.run_id, metrics={"frontiers": 1.0})
    finish(resume(opened), [point(2, 0.03)])
    assert client.get_run(sweep.run_id).data.metrics["frontiers"] == 1.0
    assert history(client, sweep.run_id, "frontier/test_mse") == [(2, 0.03)]
    assert history(client, other.run_id, "frontier/test_mse") == [(2, 0.04)]


def test_on_a_server_the_later_value_of_a_step_is_the_latest(
    opened: tracking.TrackingStore, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server takes no value back: its chart draws the earlier one as well."""
    monkeypatch.setattr(curve, "_delete", lambda *_: False)
    sweep = start(opened)
    finish(sweep, [point(2, 0.04), point(8, 0.01)])
    finish(resume(opened), [point(2, 0.03), point(8, 0.009)])
    values = client.get_metric_history(sweep.run_id, "frontier/test_mse")
    assert sorted((each.step, each.value) for each in values) == [
        (2, 0.03), (2, 0.04), (8, 0.009), (8, 0.01),
    ]  # fmt: skip
    assert client.get_run(sweep.run_id).data.metrics["frontier/test_mse"] == 0.009


def test_a_sweep_describes_itself_from_its_start_to_its_end(
    opened: tracking.TrackingStore, client: MlflowClient
) -> None:
    sweep = start(opened)
    begun = note(client, sweep.run_id)
    assert begun.startswith("No results yet")
    for text in (
        "| dims | `2 8` |",
        "| lr | `0.001:0.01` |",
        "55,000 training",
        *COMMANDS.values(),
    ):
        assert text in begun
    finish(sweep, [point(2, 0.04)], findings=["Knee at d = 8: it bends"])
    ended = note(client, sweep.run_id)
    assert ended.startswith("| Latent dim | Test MSE | PSNR \\(dB\\) |\n")
    assert "| 2 | 0.05 | – |" in ended
    assert "- Knee at d = 8: it bends" in ended
    assert "No results yet" not in ended
    assert note(client, resume(opened, trials=5).run_id).startswith("No results yet")


@pytest.mark.parametrize("own", ["My own words.\n\n- and a list", "| a | table |"])
def test_what_a_user_wrote_in_the_description_is_kept(
    opened: tracking.TrackingStore, client: MlflowClient, own: str
) -> None:
    sweep = start(opened)
    client.set_tag(sweep.run_id, names.NOTE, f"{note(client, sweep.run_id)}\n\n{own}")
    finish(sweep, [])
    assert note(client, sweep.run_id).endswith(f"{description.LAST_LINE}\n\n{own}")
    client.set_tag(sweep.run_id, names.NOTE, own)
    finish(resume(opened), [])
    assert note(client, sweep.run_id).endswith(f"{description.LAST_LINE}\n\n{own}")
    assert note(client, sweep.run_id).count(own) == 1


def test_a_users_text_that_fills_the_description_stays_alone() -> None:
    own = "x" * 7_990
    assert description.describe(support.config(), support.CARD, commands={}, stored=own) == own


@pytest.mark.parametrize("rows", [1, 40, 400])
def test_a_description_is_never_longer_than_mlflow_keeps(rows: int) -> None:
    table = [{"Latent dim": dim, "Test MSE": 1 / 3, "PSNR (dB)": 1e3 / 7} for dim in range(rows)]
    card = dataclasses.replace(support.CARD, source="x" * 9_000)
    text = description.describe(
        support.config(dims=tuple(range(1, 1_500))),
        card,
        commands=COMMANDS,
        table=table,
        findings=["y" * 300],
    )
    assert len(text) <= names.MAX_TAG_CHARACTERS
    assert "ae-sweep show first" in text
    shown = len(re.findall(r"^\| \d+ \| 0.3333 ", text, flags=re.MULTILINE))
    left_out = f"All {rows} rows are in frontier_table.csv" in text
    assert (shown == rows) != left_out


@pytest.mark.parametrize(
    "hostile", ["a | b", "```", "`", "<script>alert(1)</script>", "![x](http://x.test/x.png)",
                "**", "a\n\n# b", "\x1b[31m", "[a](javascript:alert(1))"],
)  # fmt: skip
def test_foreign_text_stays_text_in_the_description(hostile: str) -> None:
    card = dataclasses.replace(support.CARD, source=hostile)
    text = description.describe(
        support.config(),
        card,
        commands={"Draw": f"ae-sweep frontier --store '{hostile}'"},
        table=[{hostile: hostile}],
        findings=[hostile],
    )
    lines = text.splitlines()
    before_commands = lines[: lines.index("**Commands**")]
    assert not any(line.startswith("#") for line in before_commands)
    outside_code = re.sub(r"(?<!\\)(`+)(?!`).*?(?<!`)\1(?!`)", "", "\n".join(before_commands))
    assert not re.search(r"(?<!\\)[<\[]", outside_code)
    assert "\x1b" not in "\n".join(before_commands)
    [row] = [line for line in lines if line.startswith("| source ")]
    assert len(re.findall(r"(?<!\\)\|", row)) == 3, "one cell"
    fence = lines[lines.index("**Commands**") + 2].removesuffix("sh")
    assert set(fence) == {"`"}
    assert lines.count(fence) == 1, "the block of commands ends where it should"


def test_the_table_of_runs_has_views_that_stores_of_earlier_versions_get_too(
    opened: tracking.TrackingStore, client: MlflowClient, store: Store
) -> None:
    support.forget_views(store)
    assert opened.views() == []
    sweep = start(opened)
    assert opened.views() == list(views.VIEWS)
    tags = client.get_experiment(opened.experiment_id).tags
    for view in views.VIEWS:
        stored = json.loads(tags[views.TAG_PREFIX + view.key])
        assert stored["name"] == view.name
        state = json.loads(stored["state"])
        assert set(state["selectedColumns"]) == set(view.columns)
        runs = client.search_runs([opened.experiment_id], state["searchFilter"])
        assert all(run.data.tags["kind"] in view.filter_string for run in runs)
    support.forget_views(store)
    assert opened.views() == []
    sweep.interrupt()
    resume(opened)
    assert opened.views() == list(views.VIEWS)


def test_a_view_that_a_user_changed_stays_as_it_is(
    opened: tracking.TrackingStore, client: MlflowClient
) -> None:
    start(opened)
    key = views.TAG_PREFIX + views.VIEWS[0].key
    client.set_experiment_tag(opened.experiment_id, key, "mine")
    start(opened, name="second")
    assert client.get_experiment(opened.experiment_id).tags[key] == "mine"


def test_the_address_of_a_view_opens_its_charts_if_it_has_some() -> None:
    trials, curves = views.VIEWS
    address = tracking.view_url("http://h", experiment_id="1", view=trials)
    assert address == (
        "http://h/#/experiments/1/runs?workflowType=machine_learning"
        "&viewStateShareKey=ae-sweep-trials"
    )
    address = tracking.view_url("http://h", experiment_id="1", view=curves)
    assert address.endswith("viewStateShareKey=ae-sweep-curves&compareRunsMode=CHART")


@pytest.mark.parametrize("end", ["prune", "interrupt", "fail", "finish"])
def test_nothing_is_written_to_a_trial_that_has_ended(
    opened: tracking.TrackingStore, client: MlflowClient, end: str
) -> None:
    trial = support.start(start(opened))
    if end == "finish":
        support.finish(trial)
    else:
        getattr(trial, end)(*(["diverged"] if end == "fail" else []))
    before = client.get_run(trial.run_id).to_dictionary()
    with pytest.raises(RuntimeError, match="has ended"):
        support.finish(trial, test_mse=0.5)
    with pytest.raises(RuntimeError, match="has ended"):
        trial.log_epoch(support.epoch(300))
    assert client.get_run(trial.run_id).to_dictionary() == before
    models = client.search_logged_models([opened.experiment_id])
    assert len(models) == (end == "finish")


def test_nothing_is_written_to_a_sweep_that_has_ended(
    opened: tracking.TrackingStore, client: MlflowClient
) -> None:
    sweep = start(opened)
    sweep.interrupt()
    with pytest.raises(RuntimeError, match="has ended"):
        finish(sweep, [point(2, 0.04)])
    with pytest.raises(RuntimeError, match="has ended"):
        support.start(sweep)
    assert client.get_run(sweep.run_id).data.metrics == {}
    assert len(client.search_runs([opened.experiment_id])) == 1


@pytest.mark.parametrize(
    "second", [MlflowException("second"), OSError("second"), ValueError("second")]
)
def test_a_clean_up_that_fails_does_not_hide_the_first_error(
    opened: tracking.TrackingStore, monkeypatch: pytest.MonkeyPatch, second: Exception
) -> None:
    def fail(error: Exception) -> Any:
        def call(*_: object, **__: object) -> None:
            raise error

        return call

    with monkeypatch.context() as patch:
        patch.setattr(opened._client, "log_inputs", fail(OSError(28, "No space left on device")))
        patch.setattr(opened._client, "delete_run", fail(second))
        with pytest.raises(StoreError, match="No space left on device"):
            start(opened)


def test_a_sweep_is_found_without_reading_its_trials(
    opened: tracking.TrackingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = start(opened)
    for seed in range(3):
        support.finish(support.start(sweep, support.point(seed=seed)))
    searched: list[str] = []
    search = opened._client.search_runs

    def watch(*words: Any, **settings: Any) -> Any:
        searched.append(settings["filter_string"])
        return search(*words, **settings)

    monkeypatch.setattr(opened._client, "search_runs", watch)
    for name in (None, "first"):
        record = opened.sweep_settings(name)
        assert (record.name, record.run_id, record.counts) == ("first", sweep.run_id, {})
        assert record.config["dims"] == "2 8"
    assert searched
    assert not [text for text in searched if names.KIND_TRIAL in text]
    assert opened.sweep("first").counts[Outcome.FINISHED] == 3
