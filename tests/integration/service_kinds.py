"""The beginnings of services, as they are: threads, or green threads patched in before anything else."""

from __future__ import annotations

from typing import Final

_EVENTLET = "import warnings; warnings.simplefilter('ignore'); import eventlet; "

#: By kind of service, the lines that it begins with.
BEGINNINGS: Final = {
    "threads": "",
    "gevent": "from gevent import monkey; monkey.patch_all()",
    "eventlet": _EVENTLET + "eventlet.monkey_patch()",
    "eventlet-on-asyncio": "import os; os.environ['EVENTLET_HUB'] = 'asyncio'; "
    + _EVENTLET
    + "eventlet.monkey_patch()",
    "eventlet-without-threads": _EVENTLET + "eventlet.monkey_patch(thread=False)",
}

#: Makes ``driver`` and ``notifier`` of the arguments: name and options of the driver as JSON, and the prefix.
NOTIFIER: Final = """
import asyncio, json, os, sys, threading, time
from streams.settings import load_settings
from tocsin import Notifier, load_driver
name, options, prefix = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
settings = load_settings(brokers=options.pop("brokers", None), notification_topic_prefix=prefix)
driver = load_driver(name, settings=settings, **options)
notifier = Notifier("service.here", driver, settings=settings)
"""

#: Publishes while others work, and says how it went.
WORKS: Final = """
ticks = 0
def tick():
    global ticks
    while True:
        time.sleep(0.001)
        ticks += 1
def publish(who):
    for number in range(200):
        notifier.info("a.b", f"{who} {number}")
        time.sleep(0)
threading.Thread(target=tick, daemon=True).start()
workers = [threading.Thread(target=publish, args=[who]) for who in range(5)]
before = ticks
for worker in workers: worker.start()
for worker in workers: worker.join()
assert ticks > before, "the other threads stood still while it published"
def held_up_s():
    # Seconds for which this thread wanted a processor and had none.
    with open("/proc/thread-self/schedstat") as stat:
        return int(stat.read().split()[1]) / 1e9
before, begun, held_up = ticks, time.monotonic(), held_up_s()
assert driver.flush(60), driver.stats
took_s = time.monotonic() - begun - (held_up_s() - held_up)
assert driver.stats.delivered == 1000, driver.stats
# One that had nothing left to do gives nobody a turn.
assert ticks > before or took_s < 0.1, "the other threads stood still"
driver.close()
"""

#: Has an event loop of its own, while the driver's is at work.
OWN_LOOP: Final = """
async def own(number):
    # The driver sends while this loop runs, and confirmations come when it has ended.
    notifier.info("a.b", f"loop {number}")
    await asyncio.sleep(0.001)
    assert asyncio.get_running_loop()
for number in range(50):
    if name_of_kind != "eventlet-on-asyncio": asyncio.run(own(number))
    else: notifier.info("a.b", f"loop {number}")
    time.sleep(0.001)
assert driver.flush(60)
assert driver.stats.delivered == 50, driver.stats
"""

#: Ends without closing the driver.
ENDS: Final = 'for number in range(300): notifier.info("a.b", f"end {number}")'

#: Forks workers, each of which publishes with what the parent made.
FORKS: Final = """
for number in range(100): notifier.info("a.b", f"parent {number}")
pids = []
for worker in range(2):
    pid = os.fork()
    if pid == 0:
        if "eventlet" in sys.modules:
            import eventlet
            eventlet.hubs.use_hub()  # as oslo.service does it: else all share one epoll
        for number in range(100): notifier.info("a.b", f"child {worker} {number}")
        ok = driver.flush(60) and driver.stats.delivered == 100
        driver.close()
        os._exit(0 if ok else 1)
    pids.append(pid)
for number in range(100): notifier.info("a.b", f"parent again {number}")
assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0]
assert driver.flush(60)
assert driver.stats.delivered == 200, driver.stats
"""
