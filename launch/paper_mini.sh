#!/usr/bin/env bash
# The paper's comparisons in miniature, over three seeds: about three hours on two cores. Run it again to go on.
#
#   launch/paper_mini.sh [FOLDER]
#
# FOLDER/seed<N>/full       SFT, then GRPO with both rewards; benched with its own and with another generator
# FOLDER/seed<N>/no_text    from the same SFT policy, without the text reward; no_image without the image reward
# FOLDER/seed0/alpha_*      further shares of the text reward
# FOLDER/*.svg, ladder.json what came of it; printed at the end
#
# Optional variables: EXPERIMENT (default laptop), MODEL (e.g. smol_vl: the ladder of a policy that already reads, see
# conf/model; it takes longer), SEEDS (default "0 1 2").
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
folder="$(realpath -m "${1:-runs/paper_mini}")"
"$root/launch/setup.sh"
export PATH="$root/.venv/bin:$PATH"
settings=("experiment=${EXPERIMENT:-laptop}" ${MODEL:+"model=$MODEL"})
seeds="${SEEDS:-0 1 2}"
mkdir -p "$folder"

# A step that is done leaves its mark, so that it is not done again; sft and grpo go on by themselves.
once() {
  local mark="$folder/.done/$1"
  shift
  [ -e "$mark" ] && return
  "$@"
  mkdir -p "$(dirname "$mark")"
  touch "$mark"
}

# from_sft RUN: a run directory that begins with the SFT policy and the tasks of its seed's full run.
from_sft() {
  local run="$1" full="${1%/*}/full"
  rm -rf "$run" && mkdir -p "$run"
  cp -r "$full/sft" "$full/policy" "$full/tasks" "$run/"
}

# variant SEED NAME ALPHA
variant() {
  local run="$folder/seed$1/$2"
  once "seed$1/$2/start" from_sft "$run"
  gen-searcher grpo "${settings[@]}" "seed=$1" "reward.alpha=$3" "run_dir=$run"
  once "seed$1/$2/bench" gen-searcher bench "${settings[@]}" "seed=$1" "run_dir=$run" "bench.arms=[sft+grpo]"
}

for seed in $seeds; do
  full="$folder/seed$seed/full"
  mkdir -p "${full%/*}"
  gen-searcher sft "${settings[@]}" "seed=$seed" "run_dir=$full"
  gen-searcher grpo "${settings[@]}" "seed=$seed" "run_dir=$full"
  once "seed$seed/full/bench" gen-searcher bench "${settings[@]}" "seed=$seed" "run_dir=$full"
  once "seed$seed/full/transfer" gen-searcher bench "${settings[@]}" "seed=$seed" "run_dir=$full" \
    generator=compositor bench.name=compositor "bench.arms=[no-search,sft,sft+grpo]"
  variant "$seed" no_text 0.0
  variant "$seed" no_image 1.0
done
first="${seeds%% *}"
variant "$first" alpha_0.25 0.25
variant "$first" alpha_0.75 0.75
gen-searcher ladder "$folder"
