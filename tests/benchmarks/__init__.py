"""Benchmarks: Tocsin and what a user could pick instead, in one run on one Kafka."""
