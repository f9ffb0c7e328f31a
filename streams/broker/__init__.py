"""Topics, the start-up self-check, and the local Kafka."""
