# A node of a GPU cluster: CUDA builds of torch and vLLM, the same gen_searcher. Learner, engines and generators run in it.
#
#   docker build -f docker/train.Dockerfile -t gen-searcher:train .
#
# Build arguments EXTRAS and PYTHON_IMAGE as in cpu.Dockerfile; packages are locked by version, not by hash.
# The CUDA userspace comes with torch's own packages; the host brings the driver (CUDA 13.0 or newer) and the runtime hook.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG EXTRAS="trackers"
ENV PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
RUN apt-get update && apt-get install -y --no-install-recommends build-essential && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/gen_searcher
COPY pyproject.toml README.md LICENSE ./
COPY launch/constraints-gpu.txt launch/constraints-trackers.txt launch/
COPY gen_searcher/__init__.py gen_searcher/__init__.py
COPY conf conf
# The builds for CUDA pin some packages otherwise than those for the CPU, so they have a list of their own.
RUN python -m venv .venv \
    && .venv/bin/pip install --disable-pip-version-check -c launch/constraints-gpu.txt -e '.[gpu]' \
        $(for extra in $EXTRAS; do echo "-r launch/constraints-$extra.txt"; done)
COPY gen_searcher gen_searcher
COPY launch launch

FROM ${PYTHON_IMAGE}
# gcc and Python's headers: Triton and DeepSpeed compile their kernels on first use. tini: signals and zombies.
# iproute2, wget: what KubeRay's probes and Ray's own scripts call.
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc g++ libc6-dev libgomp1 libnuma1 procps iproute2 wget tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 searcher \
    && install -d -o searcher -g searcher /runs
COPY --from=build /opt/gen_searcher /opt/gen_searcher
ENV PATH=/opt/gen_searcher/.venv/bin:$PATH PYTHONUNBUFFERED=1 RAY_USAGE_STATS_ENABLED=0
USER searcher
WORKDIR /runs
VOLUME /runs
ENTRYPOINT ["tini", "--"]
CMD ["gen-searcher", "--help"]
