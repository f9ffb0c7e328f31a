"""Web views over the tables: the JSON API, the page, probes and metrics."""
