# Two workers of the digits trainer in one container, each with a checkpoint directory of its own:
# an undisturbed run; a run whose worker 1 is killed; and the run that goes on from the newest step that both have.
set -eu
# A gang that stands still is ended, so that what its workers have said can be read.
(sleep 200 && echo '{"event": "stands still"}' && cat /ckpt/*/log.* && kill -KILL -1) & watchdog=$!
trap 'kill $watchdog 2>/dev/null; cat /ckpt/*/log.*' EXIT # what every worker has said, also when something fails

worker() { # worker RUN NUMBER PORT: replaces this shell
    export HOLDFAST_CHECKPOINT_DIR="/ckpt/$1/$2" HOLDFAST_RESTORED_STEP_FILE="/ckpt/$1/restored" HOLDFAST_SLOT="0-$2"
    export JAX_COORDINATOR_ADDRESS="127.0.0.1:$3" JAX_NUM_PROCESSES=2 JAX_PROCESS_ID="$2"
    mkdir -p "$HOLDFAST_CHECKPOINT_DIR"
    exec python3 /opt/trainer/digits/train.py >"/ckpt/$1/log.$2" 2>&1
}

pair() { # pair RUN PORT: both workers to their end
    (worker "$1" 0 "$2") & first=$!
    (worker "$1" 1 "$2") & second=$!
    wait "$first"
    wait "$second"
}

mkdir -p /ckpt/calm /ckpt/killed
: >/ckpt/calm/restored
: >/ckpt/killed/restored
pair calm 8476

export STEP_SLEEP=0.02
(worker killed 0 8477) & first=$!
(worker killed 1 8477) & second=$!
while ! grep -q '"step": 160' /ckpt/killed/log.0 2>/dev/null; do kill -0 "$first"; sleep 0.1; done
kill -KILL "$second"
code=0
wait "$first" || code=$?
echo "{\"event\": \"survivor\", \"code\": $code}"

for number in 0 1; do ls "/ckpt/killed/$number" | grep -x '[0-9]*' | sort -n >"/ckpt/steps.$number"; done
newest=$(grep -x -f /ckpt/steps.0 /ckpt/steps.1 | tail -n 1)
for number in 0 1; do
    for step in $(ls "/ckpt/killed/$number"); do
        [ "$step" = "$newest" ] || rm -rf "/ckpt/killed/$number/$step"
    done
done
echo "$newest" >/ckpt/killed/restored
unset STEP_SLEEP
for number in 0 1; do mv "/ckpt/killed/log.$number" "/ckpt/killed/log.first.$number"; done
pair killed 8478
