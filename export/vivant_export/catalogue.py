"""Every model that can be exported: its licence, where its weights come from, what it must equal.

Nothing here downloads or computes; see ``weights`` for the first and ``verify`` for the second.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from vivant.errors import ModelError

Kind = Literal["hub", "drive", "https", "wheel"]
Role = Literal["faces", "matte", "harmonizer", "scorer"]
Architecture = Literal[
    "mtcnn", "isnet", "birefnet-swin-l", "birefnet-swin-t", "hinet", "bargainnet"
]
Tolerances = Mapping[str, Mapping[str, float]]

TARGETS = ("cpu", "tensorrt", "rtx")
"""What an engine is for: ONNX Runtime and OpenVINO; TensorRT; TensorRT-RTX."""


@dataclass(frozen=True)
class Source:
    """A place that has the weights.

    ``location`` is a repository of the Hugging Face hub ("hub"), a Google Drive id ("drive"), an
    address ("https") or a distribution on PyPI ("wheel"). ``file`` is the file's path there, and
    its last part the name it is kept under. ``bytes`` and ``sha256`` are what the file must be;
    where its publisher gives none and nobody could be asked, they are None, and the hash that the
    first download has is recorded and held from then on. ``revision`` is a commit, or None for
    the newest.
    """

    kind: Kind
    location: str
    file: str
    bytes: int | None = None
    sha256: str | None = None
    revision: str | None = None

    @property
    def name(self) -> str:
        """The name the file is kept under."""
        return self.file.rsplit("/", 1)[-1]

    @property
    def page(self) -> str:
        """The address where a person finds the file."""
        revision = self.revision or "main"
        return {
            "hub": f"https://huggingface.co/{self.location}/blob/{revision}/{self.file}",
            "drive": f"https://drive.google.com/file/d/{self.location}/view",
            "https": self.location,
            "wheel": f"https://pypi.org/project/{self.location.replace('==', '/')}",
        }[self.kind]


@dataclass(frozen=True)
class Licence:
    """What the weights may be used for: ``summary`` says it in plain words."""

    name: str
    url: str
    commercial: bool
    summary: str


@dataclass(frozen=True)
class Preprocessing:
    """What comes before and after a network, as its authors do it.

    ``mean`` and ``std`` are per channel, RGB, on 0..1. ``resize`` names the way to the network's
    size and ``resize_back`` the way to the photo's:

    - "bilinear": bilinear on floats without antialiasing, pixel centres at half (PyTorch's
      ``interpolate(mode="bilinear", align_corners=False)``, OpenCV's ``INTER_LINEAR``)
    - "bilinear-antialiased": Pillow's ``BILINEAR`` on uint8
    - "bicubic-antialiased": Pillow's ``BICUBIC`` on uint8

    ``min_max`` stretches the result to 0..1 after it was resized.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize: str
    resize_back: str | None = None
    min_max: bool = False


@dataclass(frozen=True)
class Model:
    """One published model.

    Attributes:
        name: what users call it.
        role: which of the runtime's roles it plays, as in an engine's manifest.
        architecture: which network it is; models of one architecture differ in their weights.
        summary: a line for people who choose.
        licence: of the weights.
        sources: where the weights are, the one to prefer first.
        tolerances: by precision, then by quantity ("<graph>.max_abs", "<graph>.mean_abs", and
            others by name): the largest deviation from the published network that an engine may
            have.
        preprocessing: None where the runtime's own code says it all (MTCNN).
        size: side of the network's square input in pixels; None where any size goes.
        sizes: every side that may be asked for at export.
        patch_order: how the BiRefNet family orders the patches it cuts the picture into; the
            weights do not show it, and the wrong one loads in silence.
    """

    name: str
    role: Role
    architecture: Architecture
    summary: str
    licence: Licence
    sources: tuple[Source, ...]
    tolerances: Tolerances
    preprocessing: Preprocessing | None = None
    size: int | None = None
    sizes: tuple[int, ...] = field(default=())
    patch_order: Literal["wg hg c", "c hg wg"] | None = None

    @property
    def precisions(self) -> tuple[str, ...]:
        """The precisions on offer: those that have tolerances to be held to."""
        return tuple(self.tolerances)


MIT = Licence(
    "MIT",
    "https://opensource.org/license/mit",
    commercial=True,
    summary="free for any use, commercial use too; the licence text goes along with copies",
)
APACHE = Licence(
    "Apache-2.0",
    "https://www.apache.org/licenses/LICENSE-2.0",
    commercial=True,
    summary="free for any use, commercial use too; the licence text goes along with copies",
)
BRIA_1_4 = Licence(
    "bria-rmbg-1.4",
    "https://bria.ai/bria-huggingface-model-license-agreement/",
    commercial=False,
    summary="free for non-commercial use only; commercial use, which a public kiosk may well be, "
    "needs an agreement with BRIA AI",
)
CC_BY_NC = Licence(
    "CC-BY-NC-4.0",
    "https://creativecommons.org/licenses/by-nc/4.0/",
    commercial=False,
    summary="free for non-commercial use only, naming BRIA AI; commercial use, which a public "
    "kiosk may well be, needs an agreement with BRIA AI",
)

_ISNET_PIPE = Preprocessing(
    mean=(0.5, 0.5, 0.5),
    std=(1.0, 1.0, 1.0),
    resize="bilinear",
    resize_back="bilinear",
    min_max=True,
)
_BIREFNET_PIPE = Preprocessing(
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    resize="bilinear-antialiased",
    resize_back="bicubic-antialiased",
)
_ISNET_SHA256 = "9e1aafea58f0b55d0c35077e0ceade6ba1ba2bce372fd4f8f77215391f3fac13"
# In FP32 rounding is all there is. In FP16 the mean alpha may move by half a level of 255, and in
# INT8 by two and a half; single pixels of noise, whose matte is arbitrary, are not judged.
_MATTE_TOLERANCES: Tolerances = {
    "fp32": {"model.max_abs": 2e-3, "model.mean_abs": 1e-4},
    "fp16": {"model.mean_abs": 5e-3, "alpha.mean_abs": 2e-3, "alpha.iou_loss": 5e-3},
    "int8": {"alpha.mean_abs": 1e-2, "alpha.iou_loss": 2e-2},
}
_MATTE_SIZES = (512, 768, 1024)


def _isnet(name: str, summary: str, licence: Licence, *sources: Source) -> Model:
    return Model(
        name=name,
        role="matte",
        architecture="isnet",
        summary=summary,
        licence=licence,
        sources=sources,
        tolerances=_MATTE_TOLERANCES,
        preprocessing=_ISNET_PIPE,
        size=1024,
        sizes=_MATTE_SIZES,
    )


def _birefnet(
    name: str,
    summary: str,
    licence: Licence,
    *sources: Source,
    architecture: Architecture = "birefnet-swin-l",
    # What the repository's code has done since commit 5198d3f of November 2024. Its history dates
    # these weights before that, when the code did (wg hg c), as RMBG-2.0's still does.
    patch_order: Literal["wg hg c", "c hg wg"] = "c hg wg",
) -> Model:
    return Model(
        name=name,
        role="matte",
        architecture=architecture,
        summary=summary,
        licence=licence,
        sources=sources,
        tolerances=_MATTE_TOLERANCES,
        preprocessing=_BIREFNET_PIPE,
        size=1024,
        sizes=_MATTE_SIZES,
        patch_order=patch_order,
    )


_ALL = (
    Model(
        name="mtcnn",
        role="faces",
        architecture="mtcnn",
        summary="faces: a cascade of three small networks",
        licence=MIT,
        sources=(Source("wheel", "mtcnn==1.0.0", "mtcnn/assets/weights"),),
        tolerances={"fp32": {f"{graph}.max_abs": 1e-5 for graph in ("pnet", "rnet", "onet")}},
    ),
    _isnet(
        "rmbg-1.4",
        "the matte of profile 'deep'",
        BRIA_1_4,
        Source(
            "hub",
            "briaai/RMBG-1.4",
            "model.safetensors",
            bytes=176_381_984,
            sha256="46ef7fe46f2ae284d8f1aaa24bfa5fca5ef25a34e2c7caa890a0029eb100e87f",
            revision="2ceba5a5efaec153162aedea169f76caf9b46cf8",
        ),
        Source(
            "hub",
            "briaai/RMBG-1.4",
            "model.pth",
            bytes=176_718_373,
            sha256="893c16c340b1ddafc93e78457a4d94190da9b7179149f8574284c83caebf5e8c",
            revision="2ceba5a5efaec153162aedea169f76caf9b46cf8",
        ),
    ),
    _isnet(
        "isnet-general-use",
        "RMBG-1.4's network, free for any use",
        APACHE,
        Source(
            "hub",
            "NimaBoscarino/IS-Net_DIS-general-use",
            "isnet-general-use.pth",
            sha256=_ISNET_SHA256,
        ),
        Source(
            "drive",
            "1klUkUnQFAxPdFu9XE3Vhnn-e72CVz6oM",
            "isnet-general-use.pth",
            sha256=_ISNET_SHA256,
        ),
    ),
    _birefnet(
        "rmbg-2.0",
        "the matte of profile 'best'",
        CC_BY_NC,
        Source(
            "hub",
            "briaai/RMBG-2.0",
            "model.safetensors",
            bytes=884_878_856,
            sha256="566ed80c3d95f87ada6864d4cbe2290a1c5eb1c7bb0b123e984f60f76b02c3a7",
            revision="5df4c9c76d8170882c34f6986e848ee07fd0ba43",
        ),
        patch_order="wg hg c",
    ),
    _birefnet(
        "birefnet",
        "RMBG-2.0's network, free for any use",
        MIT,
        Source(
            "hub",
            "ZhengPeng7/BiRefNet",
            "model.safetensors",
            bytes=444_473_596,
            sha256="9ab37426bf4de0567af6b5d21b16151357149139362e6e8992021b8ce356a154",
            revision="e2bf8e4460fc8fa32bba5ea4d94b3233d367b0e4",
        ),
    ),
    _birefnet(
        "birefnet-portrait",
        "the same, trained on portraits",
        MIT,
        Source(
            "hub",
            "ZhengPeng7/BiRefNet-portrait",
            "model.safetensors",
            bytes=884_878_856,
            sha256="4a4eb3a5469b75f0cccaec6772c22fc30e6c12ed429c2c0ba71b43e3d8d97182",
            revision="b6561965a70070d9143fd9e558f6ca3c481510db",
        ),
    ),
    _birefnet(
        "birefnet-lite",
        "the same with a backbone of a fifth of the size",
        MIT,
        Source(
            "hub",
            "ZhengPeng7/BiRefNet_lite",
            "model.safetensors",
            bytes=177_634_392,
            sha256="4417d89795250e698c3cb0ae8df15743810065f646f48a694fdfa7ca052d0815",
            revision="aa62cd87eafb9cc43056d08ef3615a14628b831d",
        ),
        architecture="birefnet-swin-t",
    ),
    Model(
        name="inr-harmonization",
        role="harmonizer",
        architecture="hinet",
        summary="light and colour of the painting, at full resolution",
        licence=APACHE,
        sources=(
            Source("drive", "1O9faWNk54mIzMaGZ1tmgm0EJpH20a-Fl", "Resolution_RAW_iHarmony4.pth"),
        ),
        tolerances={
            "fp32": {
                "encoder.max_abs": 1e-4,
                "end_to_end.mean_abs": 5e-5,
                "end_to_end.differing": 2e-3,
            },
            "fp16": {"end_to_end.mean_abs": 8e-3},  # a level of 255
        },
        preprocessing=Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), resize="bilinear"),
        size=256,
        sizes=(256,),
    ),
    Model(
        name="bargainnet",
        role="scorer",
        architecture="bargainnet",
        summary="how well foreground and background belong together",
        licence=MIT,
        sources=(
            Source(
                "https",
                "https://raw.githubusercontent.com/bcmi/BargainNet-Image-Harmonization/"
                "db73dfa08864a32804174843d814b0388c9b218c/checkpoints/latest_net_E.pth",
                "latest_net_E.pth",
            ),
            Source("hub", "BCMIZB/Libcom_pretrained_models", "BargainNet.pth"),
        ),
        tolerances={"fp32": {"model.max_abs": 1e-6}, "fp16": {"model.max_abs": 5e-3}},
        preprocessing=Preprocessing(
            (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), resize="bilinear-antialiased"
        ),
        size=256,
        sizes=(256,),
    ),
)

MODELS: Mapping[str, Model] = {model.name: model for model in _ALL}
"""By name."""


def find_model(name: str) -> Model:
    """Return the model called ``name``.

    Raises ``ModelError``, which lists the names there are.
    """
    try:
        return MODELS[name]
    except KeyError:
        raise ModelError(f"model '{name}': unknown; there are {', '.join(MODELS)}") from None
