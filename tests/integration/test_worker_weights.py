"""Weights and mode of a running worker: by a call, by its settings file; and the age guard at work."""

from __future__ import annotations

import http.client
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.integration.reading import public_counts
from tests.integration.worker_process import BOUND_S, Deployment, Worker, eventually
from tests.integration.writing import made_load, writer

pytestmark = pytest.mark.kafka

TOKEN = "a-token-of-the-tests"
PATH = "/api/v1/scheduler"


def put(worker: Worker, change: object, token: str | None = TOKEN) -> tuple[int, Any]:
    """Status and JSON of the answer to a change."""
    assert worker.address is not None
    connection = http.client.HTTPConnection(*worker.address, timeout=BOUND_S)
    headers = {"Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    try:
        connection.request("PUT", PATH, json.dumps(change), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def shown(worker: Worker) -> Any:
    status, body = worker.get(PATH)
    return json.loads(body) if status == 200 else {}


def weights(body: Any) -> dict[str, float]:
    return {each["priority"]: each["weight"] for each in body["classes"]}


async def test_weights_change_while_the_worker_counts(deployment: Deployment, tmp_path: Path) -> None:
    """A call first, then the settings file, which wins; counts stay exact through both."""
    token, config = tmp_path / "token", tmp_path / "tocsin.toml"
    token.write_text(f"{TOKEN}\n")
    config.write_text('profile = "default"\n')
    worker = deployment.worker(
        admin_token_file=str(token), config_file=str(config), age_limits="debug=0.05", age_guard_share="0.2"
    )
    await worker.start().ready()
    assert shown(worker)["age_guard"]["limits"] == {"DEBUG": 0.05}
    async with writer(deployment.settings) as out, public_counts(deployment.settings) as counts:
        async with out.steadily(made_load(seed=31)):
            for status, given in ((401, None), (401, "another-token-of-the-tests")):
                assert put(worker, {"mode": "strict"}, given)[0] == status
            status, body = put(worker, {"weights": {"debug": 7}, "mode": "strict"})
            assert status == 200
            assert (body["mode"], weights(body)["DEBUG"], body["changed"]["by"]) == ("strict", 7, "call")
            assert weights(shown(worker)) == weights(body)
            await out.goes_on(1000)

            config.write_text('profile = "yagi-2011"\nmode = "strict-with-floor"\n')
            worker.process.send_signal(signal.SIGHUP)
            await eventually("SIGHUP is heeded", lambda: shown(worker)["changed"]["by"] == "settings")
            body = shown(worker)
            assert (body["mode"], weights(body)["CRITICAL"]) == ("strict-with-floor", 65536)
            await out.goes_on(1000)

            config.write_text('profile = "mine"\n')
            worker.process.send_signal(signal.SIGHUP)
            await eventually("the refusal is logged", lambda: "not reloaded" in worker.log())
            assert shown(worker)["changed"] == body["changed"]
            # While records still come: a minute after the last one there is nothing to share.
            await eventually(
                "classes were served in the last minute",
                lambda: (
                    sum(c["share"]["last_minute"] for c in shown(worker)["classes"]) == pytest.approx(1.0)
                ),
            )
        await counts.reach(out.published.counts)
    assert "in strict order (changed by a call)" in worker.log()
    assert TOKEN not in worker.tail()
    await worker.stop()


async def test_without_an_admin_token_a_worker_takes_no_changes(deployment: Deployment) -> None:
    worker = await deployment.worker().start().ready()
    status, body = put(worker, {"mode": "strict"})
    assert (status, body["status"]) == (403, 403)
    assert shown(worker)["mode"] == "weighted"
    await worker.stop()
