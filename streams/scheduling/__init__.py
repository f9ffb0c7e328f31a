"""Fair queueing of record batches by priority. Pure."""
