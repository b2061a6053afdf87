"""How long a tracking server or a database is waited for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import tracking_support as support
from sqlalchemy.engine import make_url

from ae_sweep.errors import StoreError
from ae_sweep.tracking import reach
from ae_sweep.tracking.mlflow_env import quiet_mlflow

if TYPE_CHECKING:
    from collections.abc import Mapping

LIMITS = ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT", "AWS_MAX_ATTEMPTS")


@pytest.mark.parametrize(
    "uri",
    ["sqlite:////tmp/mlflow.db", "http://user:pass@server:5000/mlflow", "mysql+pymysql://u:p@h/db",
     "postgresql+pg8000://u:p@h/db"],
)  # fmt: skip
def test_an_address_that_is_not_of_libpq_stays_as_it_is(uri: str) -> None:
    assert reach.with_limits(uri) == uri


@pytest.mark.parametrize("scheme", reach.LIBPQ_SCHEMES)
def test_a_postgresql_that_is_gone_is_not_waited_for_for_hours(scheme: str) -> None:
    uri = f"{scheme}://ae:p%40ss%2Fw%25rd@10.0.0.1:5433/mlflow?sslmode=require&connect_timeout=60"
    limited = make_url(reach.with_limits(uri))
    assert limited.password == "p@ss/w%rd"
    assert (limited.host, limited.port, limited.database) == ("10.0.0.1", 5433, "mlflow")
    expected = {**reach.LIBPQ_LIMITS, "sslmode": "require", "connect_timeout": "60"}
    assert dict(limited.query) == expected, "what the user has set holds"
    assert reach.with_limits(reach.with_limits(uri)) == reach.with_limits(uri)


def test_a_database_that_nobody_runs_is_an_error_at_once() -> None:
    place = "postgresql://ae:***@127.0.0.1/mlflow"
    port = support.free_port()
    with pytest.raises(StoreError, match=r"cannot be reached: .*refused; start it"):
        reach.check_reachable(f"postgresql+psycopg://ae:secret@127.0.0.1:{port}/mlflow", place)


@pytest.mark.parametrize("given", [{}, {LIMITS[1]: "99"}, dict.fromkeys(LIMITS, "7")], ids=str)
def test_a_dead_server_is_given_up_within_half_a_minute_unless_the_user_waits_longer(
    given: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in LIMITS:
        monkeypatch.delenv(name, raising=False)
    for name, text in given.items():
        monkeypatch.setenv(name, text)
    with quiet_mlflow():
        during = {name: os.environ[name] for name in LIMITS}
    assert {name: os.environ.get(name) for name in LIMITS} == dict.fromkeys(LIMITS) | dict(given)
    assert {**during, **given} == during
    if not given:
        attempts = 1 + int(during[LIMITS[0]])
        assert attempts * int(during[LIMITS[1]]) <= 25, "and some seconds between the attempts"
