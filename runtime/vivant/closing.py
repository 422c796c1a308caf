"""Things that hold resources."""

from __future__ import annotations

from typing_extensions import Self


class Closing:
    """A thing that holds resources: ``close()`` gives them back, and so does leaving ``with``."""

    def close(self) -> None:
        """Give back what is held; the object cannot be used afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
