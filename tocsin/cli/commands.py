"""The commands of ``tocsin``, in the order of its help: a new one is named here."""

from __future__ import annotations

#: Command name -> module that holds a click command called ``command``, and its one-line help.
COMMANDS = {
    "demo": (
        "tocsin.cli.demo.command",
        "Start Kafka, a worker and a load on this machine, and show what they do.",
    ),
    "worker": ("tocsin.cli.worker", "Run a worker: consume, count, forward, serve the web views."),
    "web": ("tocsin.cli.web", "Serve the web views of the counts from a process of their own."),
    "publish": (
        "tocsin.cli.publish.command",
        "Publish notifications: one, a file of them, or a generated load.",
    ),
    "bridge": ("tocsin.cli.bridge.command", "Put on Kafka what services publish elsewhere."),
    "archive": ("tocsin.cli.archive", "Write raw notifications to compressed files."),
    "tail": ("tocsin.cli.tail", "Follow alerts, notifications or counts."),
    "top": ("tocsin.cli.top", "Show what a worker does, live."),
    "kafka": ("tocsin.cli.kafka", "Start, stop, reset or inspect a Kafka on this machine."),
    "topics": ("tocsin.cli.topics", "Create or check the topics."),
    "probe": ("tocsin.cli.probe.command", "Measure how long a CRITICAL takes through a running cluster."),
    "verify": (
        "tocsin.cli.verify.command",
        "Count the records again, and compare with the published counts.",
    ),
    "dead-letters": (
        "tocsin.cli.dead_letters.command",
        "List, show or replay records that could not be read.",
    ),
}
#: Commands that need ``streams`` alone, and so run where other packages are called ``tables`` or ``agents``.
#: Before all others `tocsin.guard` looks for such packages.
ON_STREAMS_ALONE = frozenset({"publish", "archive", "kafka", "topics", "dead-letters"})
