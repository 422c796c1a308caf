# Vivant for a Jetson: the library and its command. No weights inside. Build it on the board.
#
#   docker build -f docker/jetson.Dockerfile -t vivant --build-arg BASE=... .
#   docker run --rm --runtime nvidia --group-add "$(getent group render | cut -d: -f3)" \
#       -v /etc/nv_tegra_release:/etc/nv_tegra_release:ro -v vivant:/var/lib/vivant vivant doctor
#
# BASE is an image of NVIDIA's with CUDA, TensorRT and TensorRT's Python module for the JetPack of
# the board. docs/jetson.md names one for each.
ARG BASE

FROM ${BASE}
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --create-home --groups video vivant \
    && install -d -o vivant -g vivant /var/lib/vivant
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY runtime runtime
COPY export export
ARG EXTRAS=cpu,cuda,heic
# Of the major version of the board's CUDA: 12 for JetPack 6; ">=13,<14" for JetPack 7.
ARG CUDA_BINDINGS="cuda-bindings>=12.8,<13"
# TensorRT's Python module is the system's, so the environment sees the system's packages. That it is
# there is looked up, not tried: its libraries come with the board's driver, when a container runs.
RUN grep -v '^cuda-' constraints.txt > /tmp/constraints.txt \
    && python3 -m venv --system-site-packages /opt/vivant \
    && /opt/vivant/bin/pip install --no-cache-dir -c /tmp/constraints.txt \
        ".[${EXTRAS}]" "${CUDA_BINDINGS}" \
    && /opt/vivant/bin/python -c "from importlib.metadata import version; version('tensorrt')" \
    && rm /tmp/constraints.txt
ENV PATH=/opt/vivant/bin:$PATH \
    VIVANT_ENGINES=/var/lib/vivant/engines \
    VIVANT_CUBINS=/var/lib/vivant/cubins
USER vivant
WORKDIR /home/vivant
VOLUME /var/lib/vivant
# Reads every engine and holds it against its hash.
HEALTHCHECK --interval=15m --timeout=5m --start-period=1m CMD ["vivant", "doctor", "--json"]
ENTRYPOINT ["vivant"]
CMD ["doctor"]
