"""``tocsin dead-letters``: list, show and replay what could not be read."""
