"""Profiles: a choice of model per role, from what runs anywhere to what looks best."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from vivant import models
from vivant.backends import lacking
from vivant.errors import EngineError, ModelError
from vivant.store import DEFAULT_BACKEND, EngineStore


@dataclass(frozen=True)
class Profile:
    """A model per role, by name.

    Attributes:
        matte: the one used where its engine is here.
        other_mattes: of the same kind, which serve where it is not: the first that is here. Their
            licences allow any use.
        strengths: of harmonizing that are tried, the one to prefer first.
    """

    name: str
    summary: str
    faces: str
    matte: str
    harmonizer: str
    scorer: str
    strengths: tuple[float, ...]
    other_mattes: tuple[str, ...] = ()


CLASSIC = Profile(
    name="classic",
    summary="nothing to download, runs anywhere; honest about being no deep model",
    faces="mtcnn",
    matte="grabcut",
    harmonizer="reinhard",
    scorer="colour-distance",
    # Half strength is the best that colour statistics can do; full strength hurts.
    strengths=(0.5, 0.35, 0.65, 0.2, 0.8),
)
DEEP = Profile(
    name="deep",
    summary="RMBG-1.4, INR-Harmonization and BargainNet: hair, light and judgement",
    faces="mtcnn",
    matte="rmbg-1.4",
    harmonizer="inr-harmonization",
    scorer="bargainnet",
    strengths=(1.0, 0.75, 0.5),
    other_mattes=("isnet-general-use",),
)
BEST = Profile(
    name="best",
    summary="RMBG-2.0, INR-Harmonization and BargainNet: the finest matte, the slowest",
    faces="mtcnn",
    matte="rmbg-2.0",
    harmonizer="inr-harmonization",
    scorer="bargainnet",
    strengths=(1.0, 0.85, 0.7, 0.55, 0.4),
    other_mattes=("birefnet-portrait", "birefnet"),
)

PROFILES: Mapping[str, Profile] = {profile.name: profile for profile in (BEST, DEEP, CLASSIC)}
"""By name, the best first."""


def find_profile(name: str | None, store: EngineStore) -> Profile:
    """Return the profile called ``name``; without a name the best one that can run here.

    Its ``matte`` is the one whose engine is here.

    Raises ``ModelError`` for an unknown name, or for one that lacks something here, saying what.
    """
    if name is None:
        able = (profile for profile in PROFILES.values() if not obstacles(profile, store))
        name = next(able, CLASSIC).name
    if name not in PROFILES:
        raise ModelError(f"profile '{name}': unknown; there are {', '.join(PROFILES)}")
    if missing := obstacles(PROFILES[name], store):
        raise ModelError(f"profile '{name}' cannot run here: {'; '.join(missing)}")
    return with_matte_here(PROFILES[name], store)


def with_matte_here(profile: Profile, store: EngineStore) -> Profile:
    """Return the profile with the first of its mattes that has an engine; with none, unchanged."""
    here = store.models()
    mattes = (name for name in (profile.matte, *profile.other_mattes) if name in here)
    return replace(profile, matte=next(mattes, profile.matte))


def obstacles(profile: Profile, store: EngineStore) -> tuple[str, ...]:
    """Return why ``profile`` cannot run here, a line each; empty where it can."""
    profile = with_matte_here(profile, store)
    reasons = []
    backends = {DEFAULT_BACKEND}
    for role, known in models.ROLES.items():
        name = getattr(profile, role)
        if models.find(known, name).needs_engine:
            try:
                backends.add(store.engine(name).choice.backend)
            except EngineError as error:
                reasons.append(str(error))
    return (*reasons, *filter(None, map(lacking, sorted(backends))))
