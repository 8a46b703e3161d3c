#!/usr/bin/env bash
# The whole path on a laptop's CPU: fine-tune, train, compare, draw one picture, and a report to read.
#
#   launch/demo.sh [RUN_DIR] [key=value ...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

launch/setup.sh
run_dir=${1:-runs/laptop}
request="Draw the flag of the country whose capital is Warsaw, at night. Caption: the capital of the country."
settings=(experiment=laptop "run_dir=$run_dir" "${@:2}")
mkdir -p "$(dirname "$run_dir")"

say() { echo "demo: gen-searcher $*" >&2; .venv/bin/gen-searcher "$@"; }
say sft "${settings[@]}"
say grpo "${settings[@]}"
say bench "${settings[@]}"
say generate "$request" "${settings[@]}" || echo "demo: the agent found no answer to this request" >&2
say report "$run_dir"
echo "demo: the report is $run_dir/report.html" >&2
