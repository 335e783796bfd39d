#!/bin/sh
# flaky.sh N: fails N times, counting in the checkpoint folder, which survives the attempts of a step.
set -eu
count=$MILLRACE_CHECKPOINT_DIR/count
n=$(($(cat "$count" 2>/dev/null || echo 0) + 1))
echo "$n" >"$count"
echo "attempt $n (the engine calls it $MILLRACE_ATTEMPT)"
if [ "$n" -le "$1" ]; then
    echo "failing on purpose" >&2
    exit 1
fi
echo "$n" >attempts.txt
