# syntax=docker/dockerfile:1
# The whole job on a machine with an NVIDIA GPU:
#
#   docker build -t facesearch .
#   docker run --gpus all -v /videos:/data facesearch /data
#
# The engines are built on the first start (minutes) and kept in /data/.facesearch, or in a volume mounted at /cache.
# The versions belong together, by NVIDIA's table (docs/deepstream.md). For another DeepStream with a wheel of its Python bindings:
#
#   docker build --build-arg DEEPSTREAM=7.1 --build-arg UBUNTU=22.04 --build-arg CUDA=12.6.3 --build-arg PYDS=1.2.0 --build-arg PYTHON=cp310 .
ARG DEEPSTREAM=8.0
ARG UBUNTU=24.04
ARG CUDA=12.8.1

FROM nvidia/cuda:${CUDA}-devel-ubuntu${UBUNTU} AS build
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      python3 python3-dev python3-venv gcc g++ pkg-config libgirepository1.0-dev libcairo2-dev && \
    rm -rf /var/lib/apt/lists/*
# TensorRT's Python module is the system's, of the DeepStream image below; both have the same Ubuntu and so the same Python.
RUN python3 -m venv --system-site-packages /opt/facesearch/venv
ENV PATH=/opt/facesearch/venv/bin:$PATH \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    LDFLAGS=-L/usr/local/cuda/lib64/stubs
WORKDIR /src
COPY setup.cfg setup.py pyproject.toml README.md LICENSE ./
COPY configs configs
COPY facesearch_trt facesearch_trt
# hadolint ignore=DL3013
RUN pip install '.[search,web,gpu]'
# The weights are free for commercial use; with them in the image a start needs no network. The cache puts a part of the checksum
# before the name under which a local copy is looked for.
RUN FACESEARCH_HOME=/tmp/home facesearch build --backend onnxruntime && \
    mkdir -p /opt/facesearch/weights && \
    for file in /tmp/home/weights/*; do name=${file##*/}; cp "$file" "/opt/facesearch/weights/${name#????????????-}"; done && \
    rm -rf /tmp/home
COPY scripts/compile_kernels.py scripts/
RUN python scripts/compile_kernels.py /opt/facesearch/kernels 75 80 86 89 90 100 120

FROM nvcr.io/nvidia/deepstream:${DEEPSTREAM}-samples-multiarch
ARG PYDS=1.2.2
ARG PYTHON=cp312
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# NVIDIA's image comes without decoders for the CPU and without the nvcodec plugin; its own script brings them back. NVDEC does not take
# every clip.
# hadolint ignore=DL3008
RUN /opt/nvidia/deepstream/deepstream/user_additional_install.sh && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      python3-venv libgirepository-1.0-1 libcairo-gobject2 gir1.2-gstreamer-1.0 gir1.2-gst-plugins-base-1.0 && \
    rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/facesearch /opt/facesearch
# DeepStream's Python bindings; PyPI's package of that name is an unrelated one.
RUN url=https://github.com/NVIDIA-AI-IOT/deepstream_python_apps/releases/download/v${PYDS} && \
    /opt/facesearch/venv/bin/pip install --no-cache-dir --no-deps "${url}/pyds-${PYDS}-${PYTHON}-${PYTHON}-linux_x86_64.whl"
COPY docker/entrypoint.sh docker/healthcheck.py /opt/facesearch/bin/
RUN useradd --system --uid 10001 --create-home facesearch
ENV PATH=/opt/facesearch/venv/bin:$PATH \
    FACESEARCH_MODELS=/opt/facesearch/weights \
    FACESEARCH_IMAGE=gpu \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility,video \
    PYTHONUNBUFFERED=1
WORKDIR /data
# SIGINT, which Python answers also as the first process: finished clips are kept.
STOPSIGNAL SIGINT
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "/opt/facesearch/bin/healthcheck.py"]
# Gives up root at once: it goes on as the owner of the directory of clips, or as `facesearch` (uid 10001).
ENTRYPOINT ["/opt/facesearch/bin/entrypoint.sh"]
CMD ["/data"]
