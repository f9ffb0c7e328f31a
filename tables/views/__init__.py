"""Web views over the tables: the JSON API, the page, health checks and metrics."""
