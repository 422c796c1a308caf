"""The visitor inside the painting before the shutter."""

from __future__ import annotations

from vivant.live.models import Roles
from vivant.live.painter import Preview, State
from vivant.live.preview import LivePreview

__all__ = ["LivePreview", "Preview", "Roles", "State"]
