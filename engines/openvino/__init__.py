"""Engines for CPUs that use OpenVINO."""
