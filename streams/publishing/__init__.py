"""Publishing notifications: the Notifier and its drivers."""
