"""Rules of who may do what with a topic, on a broker that asks; see ``tests.configured_kafka``."""

from __future__ import annotations

import asyncio

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)


def rule(topic: str, operation: AclOperation, permission: AclPermissionType) -> AclBinding:
    """One for whoever comes."""
    return AclBinding(
        ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, "User:ANONYMOUS", "*", operation, permission
    )


async def add_rules(brokers: str, *rules: AclBinding) -> None:
    """Add rules. With a rule on a topic, whatever no rule allows is denied."""
    client = AdminClient({"bootstrap.servers": brokers})
    for made in client.create_acls(list(rules)).values():
        await asyncio.to_thread(made.result, 30)


async def deny(brokers: str, topic: str, operation: AclOperation) -> None:
    """Allow all but one operation on a topic."""
    await add_rules(
        brokers,
        rule(topic, AclOperation.ALL, AclPermissionType.ALLOW),
        rule(topic, operation, AclPermissionType.DENY),
    )


async def remove_rules(brokers: str, topic: str | None = None) -> None:
    """Remove all rules of a topic, or all that there are."""
    kind, pattern = ResourceType.ANY, ResourcePatternType.ANY
    if topic is not None:
        kind, pattern = ResourceType.TOPIC, ResourcePatternType.LITERAL
    every = AclBindingFilter(kind, topic, pattern, None, None, AclOperation.ANY, AclPermissionType.ANY)
    client = AdminClient({"bootstrap.servers": brokers})
    for removed in client.delete_acls([every]).values():
        await asyncio.to_thread(removed.result, 30)
