"""Paints the sample artworks: ``python -m vivant_samples.paint``."""
