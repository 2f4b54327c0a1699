"""The generator network and its local contrast layers."""
