"""Sample pictures: one portrait and three artworks with their slots, ready to compose.

The portrait is public domain (``portraits/CREDITS.md``); ``python -m vivant_samples.paint``
paints the artworks again.
"""

from pathlib import Path

PORTRAIT: Path = Path(__file__).parent / "portraits" / "astronaut.png"
"""A half-length portrait of one person, 512x512."""

ARTWORKS: Path = Path(__file__).parent / "artworks"
"""The folder that holds one folder per artwork."""
