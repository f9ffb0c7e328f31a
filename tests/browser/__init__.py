"""Tocsin's page in a browser."""
