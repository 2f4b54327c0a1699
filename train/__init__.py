"""From a painting and a folder of photographs to a real-time style. Needs the ``train`` extra."""
