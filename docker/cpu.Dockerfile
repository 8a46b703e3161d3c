# The laptop's parts in a container: the CPU builds, the embedded world, no hub and no key needed.
#
#   docker build -f docker/cpu.Dockerfile -t gen-searcher:cpu .
#   docker run --rm --shm-size 1g -v "$PWD/runs:/runs" gen-searcher:cpu sft experiment=laptop run_dir=/runs/laptop
#
# launch/setup.sh does the installing here as on a laptop, so there is one list of packages and one way to read it.
# GEN_SEARCHER_TORCH_INDEX is for networks where pip finds only CUDA builds of torch; see launch/setup.sh.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG GEN_SEARCHER_TORCH_INDEX=""
ENV PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
RUN apt-get update && apt-get install -y --no-install-recommends build-essential && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/gen_searcher
# What decides the packages comes first: a change of the code alone installs nothing again.
COPY pyproject.toml README.md LICENSE ./
COPY launch/setup.sh launch/constraints.txt launch/
COPY gen_searcher/__init__.py gen_searcher/__init__.py
COPY conf conf
RUN GEN_SEARCHER_PYTHON=python3.11 GEN_SEARCHER_TORCH_INDEX="$GEN_SEARCHER_TORCH_INDEX" launch/setup.sh
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
