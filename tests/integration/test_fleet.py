"""Workers know of each other, and of one that was killed, by the status topic."""

from __future__ import annotations

import pytest

from tables.fleet.state import worker_id
from tests.admin import apply_topics
from tests.integration.fleet_kit import WEB, all_show, pages_show, workers_of
from tests.integration.worker_process import Deployment, eventually
from tests.integration.writing import made_load, writer

pytestmark = pytest.mark.kafka


async def test_every_process_shows_all_workers_and_what_became_of_them(deployment: Deployment) -> None:
    await apply_topics(deployment.settings)
    one = deployment.worker("one", instance_id="worker-one").start()
    two = deployment.worker("two").start()
    web = deployment.worker("web", command=WEB).start()
    named = worker_id(deployment.settings.model_copy(update={"data_dir": deployment.folder / "two"}))
    both = {"worker-one": True, named: True}
    await all_show([one, two, web], "all show both workers", both)

    async with writer(deployment.settings) as out:
        await out.made(made_load(seed=1, count=200))
        await out.raw(deployment.settings.notification_topic(deployment.settings.priorities[-1]), b"no JSON")
        published = out.published

    async def counted() -> bool:
        answers = [await workers_of(each) for each in (one, two, web)]
        return all(
            sum(each["counted"] for each in answer["classes"]) >= sum(published.counts.values())
            and sum(each["forwarded"] for each in answer["classes"]) == published.number_forwarded
            and [tuple(each.values())[1:] for each in answer["dead_letters"]]
            == [("not-json", 1, len(b"no JSON"))]
            and answer["complete"]
            for answer in answers
        )

    await eventually("all show what both have done", counted)
    every = {each.value: [0, 1, 2, 3] for each in deployment.settings.priorities}

    async def all_work() -> bool:
        """All partitions are worked on, each by one worker."""
        workers = (await workers_of(web))["workers"]
        partitions: dict[str, list[int]] = {}
        for each in [each for worker in workers for each in worker["partitions"]]:
            if each["priority"] is not None and each["state"] == "working":
                partitions.setdefault(each["priority"], []).extend(each["numbers"])
        return all(worker["ready"] and not worker["reasons"] for worker in workers) and every == {
            priority: sorted(numbers) for priority, numbers in partitions.items()
        }

    await eventually("both work on all partitions", all_work)

    await pages_show([one, two, web], "2 heard from, 2 ready")
    two.kill()
    await all_show([one, web], "the killed worker is not heard from", both | {named: False})
    await pages_show([one, web], "1 heard from, 1 ready", "not heard from</span>")
    two.start()
    await all_show([one, two, web], "the worker is there again, and once", both)
    await two.stop()
    await all_show([one, web], "the worker that has stopped is gone", {"worker-one": True})
