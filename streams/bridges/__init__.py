"""Ways in: what others publish elsewhere is put on Kafka, and acknowledged there once Kafka has it."""
