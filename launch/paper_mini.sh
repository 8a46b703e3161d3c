#!/usr/bin/env bash
# The paper's comparisons in miniature, over three seeds: under three hours on two cores. Run it again to go on.
#
#   launch/paper_mini.sh [FOLDER]
#
# FOLDER/seed<N>/full       SFT, then GRPO with both rewards; benched with its own and with another generator
# FOLDER/seed<N>/no_text    from the same SFT policy, without the text reward; no_image without the image reward
# FOLDER/seed0/alpha_*      further shares of the text reward
# FOLDER/log/*.log          what each of them said
# FOLDER/*.svg, ladder.json what came of it; printed at the end
#
# Optional variables: EXPERIMENT (default laptop), MODEL (e.g. smol_vl: the ladder of a policy that already reads, see
# conf/model; it takes longer), SEEDS (default "0 1 2"), AT_ONCE (default 2: runs beside each other, about 6 GiB each).
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
folder="$(realpath -m "${1:-runs/paper_mini}")"
"$root/launch/setup.sh"
export PATH="$root/.venv/bin:$PATH"
at_once="${AT_ONCE:-2}"
settings=("experiment=${EXPERIMENT:-laptop}" ${MODEL:+"model=$MODEL"})
# One thread for each of several learners does more than several threads that wait for each other.
if [ "$at_once" -gt 1 ]; then settings+=(sft.optim.threads=1 grpo.optim.threads=1); fi
read -ra seeds <<< "${SEEDS:-0 1 2}"
mkdir -p "$folder/log"
set -m  # each run in a process group of its own, which Ctrl-C does not reach
end_all='trap - INT TERM; kill -TERM $(jobs -rp) || true; wait; exit 75'
trap "$end_all" INT TERM

# One command of the program. It is waited for, not called, so that a signal to the shell that waits can be passed on.
gs() { gen-searcher "$@" & wait $!; }

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

# full SEED
full() {
  local run="$folder/seed$1/full"
  mkdir -p "${run%/*}"
  gs sft "${settings[@]}" "seed=$1" "run_dir=$run"
  gs grpo "${settings[@]}" "seed=$1" "run_dir=$run"
  once "seed$1/full/bench" gs bench "${settings[@]}" "seed=$1" "run_dir=$run"
  once "seed$1/full/transfer" gs bench "${settings[@]}" "seed=$1" "run_dir=$run" \
    generator=compositor bench.name=compositor "bench.arms=[no-search,sft,sft+grpo]"
}

# variant SEED NAME ALPHA
variant() {
  local run="$folder/seed$1/$2"
  once "seed$1/$2/start" from_sft "$run"
  gs grpo "${settings[@]}" "seed=$1" "reward.alpha=$3" "run_dir=$run"
  once "seed$1/$2/bench" gs bench "${settings[@]}" "seed=$1" "run_dir=$run" "bench.arms=[sft+grpo]"
}

# begin NAME COMMAND...: run it beside the others, as soon as fewer than AT_ONCE are running.
begin() {
  local log="$folder/log/$1.log"
  shift
  while [ "$(jobs -rp | wc -l)" -ge "$at_once" ]; do wait -n || true; done
  echo "$(date +%T) $* (log: $log)"
  (
    trap "$end_all" TERM
    trap '[ $? -eq 0 ] || { echo "$* did not end well, see $log; run this script again to go on" >&3; touch "$folder/failed"; }' EXIT
    "$@"
  ) >> "$log" 2>&1 &
}

# after STEP: wait until it has left its mark, or end here if a run has failed.
after() {
  until [ -e "$folder/.done/$1" ]; do
    [ ! -e "$folder/failed" ] || finish
    wait -n || true
  done
}

# finish: wait for all of them, and end here if one has failed.
finish() {
  wait
  [ ! -e "$folder/failed" ] || exit 1
}

exec 3>&2  # for words that do not belong into a log
rm -f "$folder/failed"
for seed in "${seeds[@]}"; do begin "seed$seed-full" full "$seed"; done
for seed in "${seeds[@]}"; do
  after "seed$seed/full/transfer"
  begin "seed$seed-no_text" variant "$seed" no_text 0.0
  begin "seed$seed-no_image" variant "$seed" no_image 1.0
done
begin "seed${seeds[0]}-alpha_0.25" variant "${seeds[0]}" alpha_0.25 0.25
begin "seed${seeds[0]}-alpha_0.75" variant "${seeds[0]}" alpha_0.75 0.75
finish
gen-searcher ladder "$folder"
