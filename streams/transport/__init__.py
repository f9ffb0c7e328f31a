"""How records travel: fetch lanes, batches, durable offsets, the adapter to Faust and aiokafka."""
