"""Writing to Kafka so that nothing counts as written before the brokers confirm it.

`client` connects and ends the aiokafka producer, `errors` knows what its errors mean. Two modes of sending
lie on top: `confirmed`, record by record with a future for each, for a worker and for replaying; and
`batches`, whole record batches, for publishing much. A third mode would begin where these do, with a
`connected_producer` and the futures of what it took.
"""
