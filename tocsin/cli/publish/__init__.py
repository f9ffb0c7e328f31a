"""``tocsin publish``: one notification, a file of them, or a made load."""
