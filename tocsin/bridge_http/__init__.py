"""The bridge for HTTP: ``tocsin bridge http``. It puts what is posted to it on Kafka, and reads nothing."""
