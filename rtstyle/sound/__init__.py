"""Sound beside live pictures."""
