"""The network that finds people in a frame, and how it was converted."""
