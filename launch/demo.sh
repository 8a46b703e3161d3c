#!/usr/bin/env bash
# The whole path on a laptop's CPU: fine-tune, train, compare, draw one picture, and a report to read.
#
#   launch/demo.sh [RUN_DIR] [key=value ...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

launch/setup.sh
run_dir=${1:-runs/laptop}
settings=(experiment=laptop "run_dir=$run_dir" "${@:2}")
for command in sft grpo bench generate; do
    echo "demo: gen-searcher $command ${settings[*]}" >&2
    .venv/bin/gen-searcher "$command" "${settings[@]}"
done
.venv/bin/gen-searcher report "${settings[@]}"
echo "demo: the report is $run_dir/report.html" >&2
