"""A real Kafka for development and tests, which needs no Java and no container engine: ``tocsin[local]``."""
