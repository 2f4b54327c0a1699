"""CPUs through OpenVINO."""
