"""The notification: its priorities, its accepted forms, and their repairs. Pure."""
