"""What a step learns from: pictures, clips, motion and batches."""
