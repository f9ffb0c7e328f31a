"""What each worker says of itself in the status topic, and what all of them together are."""
