"""The name of a source: the one place that makes it. Pure."""

from __future__ import annotations


def source_name(topic_id: str, partition: int, life: str = "") -> str:
    """The name of a partition of a notification topic: ``<topic id>:<partition>``.

    One whose log lost its end goes on as another source, whose name ends with that of its life (see
    ``tables.source_lives``): ``<topic id>:<partition>:<life>``.

    It has the topic's id and not its name, because a topic that is deleted and made again begins at
    offset 0 once more, and its counts must not be taken for those of the old one. It is part of keys of
    rows, of ids of alerts and of dead letters, and nobody takes it apart.
    """
    return f"{topic_id}:{partition}:{life}" if life else f"{topic_id}:{partition}"


def first_life(source: bytes) -> bytes:
    """The name that a source had in its first life."""
    return b":".join(source.split(b":")[:2])
