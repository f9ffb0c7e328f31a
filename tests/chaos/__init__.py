"""Faults on a real cluster under load, and a checker that reads the recorded history: ``make chaos``."""
