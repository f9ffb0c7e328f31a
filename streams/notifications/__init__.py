"""The notification: its priorities, its accepted forms, and their repairs. Pure."""

from streams.notifications.decoding import Decoder, Limits
from streams.notifications.encoding import EncodingError, encode
from streams.notifications.event_time import bucket_time_ms
from streams.notifications.nearly_json import repaired_json
from streams.notifications.notification import Notification, Reason, Rejection, Repair
from streams.notifications.priority import DEFAULT_PRIORITIES, Priority
from streams.notifications.record_time import RecordTime, record_time

__all__ = [
    "DEFAULT_PRIORITIES",
    "Decoder",
    "EncodingError",
    "Limits",
    "Notification",
    "Priority",
    "Reason",
    "RecordTime",
    "Rejection",
    "Repair",
    "bucket_time_ms",
    "encode",
    "record_time",
    "repaired_json",
]
