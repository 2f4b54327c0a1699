"""A live run: session, actions, style switcher, recorder and control."""
