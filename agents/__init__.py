"""Faust agents: ingest, combine, dead letters, and what reaches subscribers."""
