#!/usr/bin/env bash
# Submit a command to a Ray cluster that is running; its output follows, and running it again resumes.
#
#   RAY_ADDRESS=http://head:8265 launch/ray_job.sh grpo experiment=paper_8b cluster=many_nodes run_dir=/shared/run
#
# RAY_ADDRESS      the cluster's dashboard
# RAY_AUTH_TOKEN   or ~/.ray/auth_token: the cluster's token, when it asks for one
# Keys of providers never go through here: settings name them (env:NAME, file:/path) and the nodes hold them.
set -euo pipefail

fail() { printf 'ray_job: %s\n' "$*" >&2; exit 2; }
[[ -n "${RAY_ADDRESS:-}" ]] || fail "RAY_ADDRESS is not set; it is the cluster's dashboard, e.g. http://head:8265"
(($# > 0)) || fail "no command; e.g. launch/ray_job.sh grpo experiment=paper_8b cluster=many_nodes run_dir=/shared/run"
run_dir=""
has_cluster=no
for word in "$@"; do
    case $word in
        run_dir=*) run_dir=${word#run_dir=} ;;
        cluster=* | cluster.address=*) has_cluster=yes ;;
    esac
done
[[ $run_dir == /* ]] || fail "run_dir=${run_dir:-(not set)} must be absolute and shared by all nodes: a job's own folder goes with it"
[[ $has_cluster == yes ]] || set -- "$@" cluster=auto

# What cluster.roles.driver asks for is kept for the command itself. Reading the settings takes gen-searcher on this machine.
options=()
if told=$(gen-searcher "$@" --submit-options 2>/dev/null); then
    [[ -z $told ]] || mapfile -t options <<<"$told"
elif [[ $* == *roles.driver* ]]; then
    fail "cluster.roles.driver is set, and gen-searcher on this machine cannot read the settings; gen-searcher $* --cfg says why"
fi

# No --submission-id: Ray refuses a second use of one. What a run is, and where it resumes, is its run_dir.
printf 'ray_job: gen-searcher %s\n' "$*" >&2
exec ray job submit --address "$RAY_ADDRESS" --metadata-json "{\"run_dir\": \"$run_dir\"}" \
    ${options[@]+"${options[@]}"} -- gen-searcher "$@"
