"""Drivers that a Notifier can push through."""
