"""The stream: notifications, their scheduling, the transport through Faust, publishing, the app."""

__version__ = "0.1.0"
