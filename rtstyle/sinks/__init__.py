"""Sinks: where stylized frames go."""
