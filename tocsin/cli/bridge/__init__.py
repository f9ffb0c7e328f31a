"""``tocsin bridge``: put on Kafka what services publish elsewhere."""
