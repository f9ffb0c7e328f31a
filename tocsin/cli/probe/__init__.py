"""``tocsin probe``: measure how long a CRITICAL takes through a live cluster."""
