"""Answers to probes: what an alert is for a notification, made and sent the same way. Pure.

`tocsin probe` publishes notifications of the reserved event type ``(probes)`` like any service does. They
pass lanes, queue, decoder and counts as all others; only the topic of the answer is another than that of
alerts, so that no subscriber of alerts gets one. Anybody can publish the mark: such a record is counted
under the reserved type, and its answer lies in a topic that is bounded in bytes and time.
"""

from __future__ import annotations

from typing import Final

from streams.outgoing import Outgoing

#: Type of an answer, in place of the one of forwarded alerts.
TYPE: Final = "io.tocsin.probe.v1"
#: Larger probes are answered without their body; those of `tocsin probe` have a few hundred bytes.
MOST_BODY_BYTES: Final = 4096


def answer_of(alert: Outgoing) -> Outgoing:
    """The answer to a probe, from the alert record that it would have become."""
    headers = [(name, TYPE.encode() if name == "ce_type" else content) for name, content in alert.headers]
    return Outgoing(alert.topic, alert.value, alert.key, alert.partition, headers)


def without_value(answer: Outgoing) -> Outgoing:
    """An answer that the brokers take when the whole is too large: only its headers say what it answers."""
    return Outgoing(answer.topic, None, answer.key, answer.partition, answer.headers)
