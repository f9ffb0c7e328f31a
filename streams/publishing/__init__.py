"""Publishing notifications: the Notifier and its drivers."""

from streams.publishing.driver import available_drivers, load_driver
from streams.publishing.notifier import AsyncNotifier, Notifier

__all__ = ["AsyncNotifier", "Notifier", "available_drivers", "load_driver"]
