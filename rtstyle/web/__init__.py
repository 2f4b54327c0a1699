"""The page: a browser sends its camera and gets a painting back, or watches what this machine paints."""
