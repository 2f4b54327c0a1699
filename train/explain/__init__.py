"""`rtstyle explain`: show on one page what a style does to a picture, where, and why."""
