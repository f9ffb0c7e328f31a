"""What alerts are delivered to besides Kafka."""
