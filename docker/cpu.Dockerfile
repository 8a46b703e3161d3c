# The laptop's parts in a container: the CPU builds, the embedded world, no hub and no key needed.
#
#   docker build -f docker/cpu.Dockerfile -t gen-searcher:cpu .
#   docker run --rm --shm-size 1g -v "$PWD/runs:/runs" gen-searcher:cpu sft experiment=laptop run_dir=/runs/laptop
#
# launch/setup.sh does the installing here as on a laptop, without what only tests and style need. Build arguments:
#   EXTRAS                     what is installed beside the program: `trackers` (the default), or nothing. The image's user cannot
#                              install anything; what else you need goes into an image of your own, as root, FROM this one
#   GEN_SEARCHER_TORCH_INDEX   for networks where pip finds only CUDA builds of torch; see launch/setup.sh
#   PYTHON_IMAGE               the base: a tag, which moves, or for builds that repeat python@sha256:...
# Packages are locked by version, not by hash: what a package index serves under a version is taken as it is.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG GEN_SEARCHER_TORCH_INDEX=""
ARG EXTRAS="trackers"
ENV PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
RUN apt-get update && apt-get install -y --no-install-recommends build-essential && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/gen_searcher
# What decides the packages comes first: a change of the code alone installs nothing again.
COPY pyproject.toml README.md LICENSE ./
COPY launch/setup.sh launch/constraints.txt launch/constraints-trackers.txt launch/
COPY gen_searcher/__init__.py gen_searcher/__init__.py
COPY conf conf
RUN GEN_SEARCHER_PYTHON=python3.11 GEN_SEARCHER_EXTRAS="$EXTRAS" GEN_SEARCHER_TORCH_INDEX="$GEN_SEARCHER_TORCH_INDEX" \
    launch/setup.sh
COPY gen_searcher gen_searcher
COPY launch launch

FROM ${PYTHON_IMAGE}
# libgomp and libnuma: PyTorch's and vLLM's CPU kernels. g++ and Python's headers: torch.compile, for models that ask for it.
# numactl and procps: what vLLM and Ray look at the machine with. tini: signals reach the driver, zombies are reaped.
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ libgomp1 libnuma1 numactl procps tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 searcher \
    && install -d -o searcher -g searcher /runs
COPY --from=build /opt/gen_searcher /opt/gen_searcher
ENV PATH=/opt/gen_searcher/.venv/bin:$PATH PYTHONUNBUFFERED=1 RAY_USAGE_STATS_ENABLED=0 HF_HUB_OFFLINE=1
USER searcher
WORKDIR /runs
VOLUME /runs
ENTRYPOINT ["tini", "--", "gen-searcher"]
CMD ["--help"]
