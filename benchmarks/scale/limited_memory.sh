#!/usr/bin/env bash
# Run a command within a memory limit that holds for the system's file cache too (a control group of Linux; as root):
#
#   benchmarks/scale/limited_memory.sh 3G gnnpot fit model=hdnnp data.path=... data.cache_limit=20e9
#
# So a training on data larger than the memory can be tried on any machine. It prints the largest use at the end.
set -euo pipefail
limit=$(numfmt --from=iec "$1")
shift
name=gnnpot-$$
if [ -d /sys/fs/cgroup/memory ]; then
    group=/sys/fs/cgroup/memory/$name limit_file=memory.limit_in_bytes peak_file=memory.max_usage_in_bytes
else
    group=/sys/fs/cgroup/$name limit_file=memory.max peak_file=memory.peak
fi
mkdir "$group"
trap 'rmdir "$group"' EXIT
echo "$limit" > "$group/$limit_file"
(echo "$BASHPID" > "$group/cgroup.procs"; exec "$@") || status=$?
echo "largest use: $(numfmt --to=iec "$(cat "$group/$peak_file")") of $(numfmt --to=iec "$limit")"
exit "${status:-0}"
