"""Masks: where in a frame the style shows."""
