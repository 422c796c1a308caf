# Vivant for an NVIDIA card in an x86 machine: the library and its command. No weights inside.
#
#   docker build -f docker/desktop.Dockerfile -t vivant .
#   docker run --rm --gpus all -v vivant:/var/lib/vivant vivant doctor
#
# The card's driver is the host's: 580 or newer for CUDA 13. Engines live in the volume, and so do
# plans and kernels, which are built at the first start; see docs/gpu.md.

# CUDA's libraries and cuDNN, which ONNX Runtime's provider loads, with Ubuntu 24.04's Python 3.12.
ARG BASE=nvidia/cuda:13.0.1-cudnn-runtime-ubuntu24.04

FROM ${BASE} AS build
# Ubuntu's security updates are wanted, not its package versions of one day.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY runtime runtime
COPY export export
ARG EXTRAS=gpu,rtx,heic
RUN python3 -m venv /opt/vivant \
    && /opt/vivant/bin/pip install --no-cache-dir -c constraints.txt ".[${EXTRAS}]"

FROM ${BASE}
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --create-home vivant \
    && install -d -o vivant -g vivant /var/lib/vivant
COPY --from=build /opt/vivant /opt/vivant
ENV PATH=/opt/vivant/bin:$PATH \
    VIVANT_ENGINES=/var/lib/vivant/engines \
    VIVANT_CUBINS=/var/lib/vivant/cubins \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER vivant
VOLUME /var/lib/vivant
# Reads every engine and holds it against its hash.
HEALTHCHECK --interval=15m --timeout=2m --start-period=1m CMD ["vivant", "doctor", "--json"]
ENTRYPOINT ["vivant"]
CMD ["doctor"]
