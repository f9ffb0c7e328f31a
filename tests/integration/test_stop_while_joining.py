"""A worker that is told to stop while it joins the group leaves it, so that the others go on at once."""

from __future__ import annotations

import pytest

from streams.broker.admin import admin_client
from streams.upstream.group_members import describe_groups
from tests.integration.worker_process import BOUND_S, Deployment, eventually

pytestmark = [pytest.mark.kafka]


async def test_no_member_is_left_that_holds_partitions(deployment: Deployment) -> None:
    # Longer than the test: who does not leave stays a member.
    deployment.configure(session_timeout_s="300")
    settings = deployment.settings
    stays = await deployment.worker("stays").start().ready()
    async with admin_client(settings, timeout_s=BOUND_S, attempt_s=BOUND_S) as admin:

        async def members() -> int:
            return len((await describe_groups(admin, [settings.group_id]))[settings.group_id])

        async def joins() -> bool:
            return await members() == 2

        async def has_left() -> bool:
            return await members() == 1

        assert await members() == 1
        for number in range(3):
            # While this one is frozen, nobody gets a part.
            await stays.freeze()
            goes = deployment.worker(f"goes-{number}").start()
            await eventually("it joins", joins)
            goes.terminate()
            stays.thaw()
            assert await goes.ended() == 0
            await eventually("it has left", has_left)
