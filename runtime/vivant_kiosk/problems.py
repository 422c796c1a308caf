"""What can go wrong for a client, as RFC 9457 problems; each is a code, a status and one line."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from vivant.errors import (
    ArtworkError,
    ImageError,
    PlacementError,
    SubjectError,
    VivantError,
)

PREFIX = "urn:vivant:problem:"

_KINDS = {
    "invalid-request": (422, "The request is not as it should be"),
    "too-large": (413, "The upload is too large"),
    "not-a-picture": (422, "The portrait is no picture that can be read"),
    "nobody": (422, "Nobody was found in the portrait"),
    "no-place": (422, "The artwork has no place for this portrait"),
    "unknown-artwork": (404, "There is no such artwork"),
    "not-found": (404, "There is nothing here"),
    "busy": (429, "Others come first"),
    "too-slow": (408, "The upload took too long"),
    "not-ready": (503, "The service is not ready"),
    "unauthorized": (401, "A token is needed"),
    "forbidden": (403, "This is not allowed"),
    "method-not-allowed": (405, "The method is not allowed"),
    "not-acceptable": (406, "There is no such form of it"),
    "conflict": (409, "This cannot be done now"),
    "failed": (500, "The composition failed"),
    "gave-up": (504, "The composition took too long"),
}


@dataclass(frozen=True)
class Problem:
    """A problem as a client reads it.

    Attributes:
        type: a URN that ends in the code.
        title: of all problems of this code.
        status: of HTTP.
        detail: one line about this one: the input, what is wrong with it, the remedy.
    """

    type: str
    title: str
    status: int
    detail: str

    @property
    def code(self) -> str:
        """What programs look at."""
        return self.type.removeprefix(PREFIX)

    def as_json(self) -> dict[str, Any]:
        """Return the members of the JSON object."""
        return asdict(self)


def problem(code: str, detail: str) -> Problem:
    """Return a problem of a code."""
    status, title = _KINDS[code]
    return Problem(PREFIX + code, title, status, detail)


def problem_of(error: VivantError) -> Problem:
    """Return what an error of the pipeline is to a client.

    Only what a visitor or client can mend is told in its own words; the rest is for the log.
    """
    for kind, code in _CODES.items():
        if isinstance(error, kind):
            return problem(code, str(error))
    return problem("failed", "the picture could not be made; try again, or call the staff")


_CODES: dict[type[VivantError], str] = {
    ImageError: "not-a-picture",
    SubjectError: "nobody",
    PlacementError: "no-place",
    ArtworkError: "unknown-artwork",
}
