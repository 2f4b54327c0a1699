"""Small networks that find people and faces in a frame, and how they were converted."""
