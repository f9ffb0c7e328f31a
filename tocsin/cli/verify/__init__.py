"""``tocsin verify``: count the records of the last hour once more, and compare."""
