"""Dead letters: how they are written and read, what is chosen to be replayed, and how it is sent."""
