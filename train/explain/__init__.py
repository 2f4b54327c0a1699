"""``rtstyle explain``: what a style did to one picture, where, after which part of the painting, and at what price."""
