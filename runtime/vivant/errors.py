"""What can go wrong, as one small tree.

Every message is one line: the input's name, what is wrong with it, and what to do.
"""

from __future__ import annotations


class VivantError(Exception):
    """The base of every error that Vivant raises on purpose."""


class ImageError(VivantError):
    """A picture that cannot be read: no image, truncated, too large, animated."""


class SubjectError(VivantError):
    """A photo with nobody to compose: no face, or no person that could be cut out."""


class ArtworkError(VivantError):
    """An artwork folder that is incomplete or breaks the rules of ``artwork.toml``."""


class PlacementError(VivantError):
    """An artwork with no slot for this visitor."""


class EngineError(VivantError):
    """An engine that is missing, altered, untrained or not ours to open."""


class BackendError(VivantError):
    """An execution provider or inference library that was asked for and is not here."""


class DeviceError(VivantError):
    """A device that is not here or failed, or a rule of its memory that was broken."""


class ModelError(VivantError):
    """A model or profile name that is unknown or lacks what it needs."""


class PreviewError(VivantError):
    """A live preview that failed, or is closed."""


class OutputError(VivantError):
    """A result that could not be written."""
