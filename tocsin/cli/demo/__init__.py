"""``tocsin demo``: bring up Kafka, a worker and a load here, and show them at work."""
