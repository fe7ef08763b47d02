#!/usr/bin/env bash
# Measure and test everything on one GPU in under 8 minutes.
#
#   bash benchmarks/gpu.sh [OUT_DIR]
#
# Needs python3 with torch and triton; what else gan-zoo needs may lie in a folder of wheels. Leaves in OUT_DIR (by
# default gpu-report) run-CARD.json, step-CARD.json, kernels-CARD.json, baselines-CARD.json and gpu.log, where CARD is
# e.g. h200. Ends with a table of the parts, and with exit code 1 if any of them failed.
#
#   WHEELS=folder   wheels to install into a temporary folder beforehand, without an index
#   PARTS="…"       which parts, in which order: run step kernels tests baselines timing, the tests of time alone
#   BUDGET=470      seconds for all parts together; a part that finds less than 10 of them left is skipped
#   PYTHON=python3  the interpreter
#   DRY=1           a rehearsal on the CPU with tiny settings and without time limits: finds mistakes, measures nothing
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
out=${1:-gpu-report} python=${PYTHON:-python3} budget=${BUDGET:-470} dry=${DRY:-}
[ -z "$dry" ] || budget=36000
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit 2
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
log=$out/gpu.log
: >"$log"

export PYTHONPATH=$PWD:$PWD/kernels${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-4}
if [ -n "${WHEELS:-}" ]; then
    "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --disable-pip-version-check \
        --root-user-action ignore --target "$work/site" "$WHEELS"/*.whl || exit 2
    PYTHONPATH=$work/site:$PYTHONPATH
fi

if [ -n "$dry" ]; then
    device=cpu card=dry
else
    device=cuda
    card=$("$python" -c '
import re, torch
name = torch.cuda.get_device_name().lower().replace("nvidia", "")
print((re.search(r"[a-z]*\d\w*", name) or re.search(r"\w+", name)).group())') || exit 2
fi
"$python" -c 'import gan_zoo.api, gan_zoo.bench.kernels, gan_zoo.bench.step' || exit 2
echo "$card: $(date)"

table=() failed=0
# part NAME SECONDS COMMAND…: runs a command under a time limit; its last line of output stands for it in the table.
part() {
    local name=$1 limit=$2 left=$((budget - SECONDS)) begun=$SECONDS status line
    shift 2
    if ((left < 10)); then
        table+=("$name|skipped|0|no time was left") failed=1
        return
    fi
    [ -z "$dry" ] || limit=$left
    ((limit < left)) || limit=$left
    echo "== $name, at most $limit s"
    timeout --signal=INT --kill-after=10 "$limit" "$@" >"$work/part.log" 2>&1
    status=$?
    { echo "== $name: $*"; cat "$work/part.log"; } >>"$log"
    line=$(grep -v '^[[:space:]]*$' "$work/part.log" | tail -n 1 | cut -c 1-150)
    case $status in
        0) status=passed ;;
        124 | 137) status="out of time" failed=1 ;;
        *) status="failed ($status)" failed=1 ;;
    esac
    [ "$status" = passed ] || tail -n 25 "$work/part.log"
    table+=("$name|$status|$((SECONDS - begun))|$line")
}

# keep KIND: the report of a part, also where the part was ended before its time.
keep() {
    if [ -f "$work/$1.json" ]; then cp "$work/$1.json" "$out/$1-$card.json"; fi
}

for part in ${PARTS:-run step kernels tests baselines timing}; do
    case $part in
        run)
            settings=()
            [ -z "$dry" ] || settings=(--steps 6 --log-every 2 --trunk.width 4 --batch-size 8)
            part run 100 "$python" benchmarks/whole_run.py --device $device --out "$work/run.json" "${settings[@]}"
            keep run
            ;;
        step)
            settings=()
            [ -z "$dry" ] || settings=(--batch-size 4 --seconds 0.1 --precision fp32)
            part step 150 "$python" -m gan_zoo bench step --quick --device $device --out "$work/step.json" "${settings[@]}"
            keep step
            if [ -f "$work/step.md" ]; then cat "$work/step.md"; fi
            ;;
        kernels)
            part kernels 110 "$python" -m gan_zoo bench kernels --quick --device $device --out "$work/kernels.json"
            keep kernels
            ;;
        baselines)
            settings=(--seconds 8)
            [ -z "$dry" ] || settings=(--seconds 0.1 --batch-size 2)
            part baselines 60 "$python" benchmarks/baselines.py --device $device --out "$work/baselines.json" "${settings[@]}"
            keep baselines
            ;;
        tests)
            settings=(-m gpu)
            [ -z "$dry" ] || settings=(--collect-only -m gpu)
            if [ -z "$dry" ] && "$python" -c 'import xdist' 2>/dev/null; then
                processes=$(($(nproc) > 14 ? 14 : $(nproc)))
                settings+=(-n "$processes" --dist worksteal)
            fi
            OMP_NUM_THREADS=1 part tests 200 "$python" -m pytest -q -p no:cacheprovider "${settings[@]}" \
                --ignore tests/kernels/test_host_work.py tests/kernels tests/training tests/trunks
            ;;
        timing) # what these measure, other processes on the device would change
            settings=(-m gpu)
            [ -z "$dry" ] || settings=(--collect-only -m gpu)
            part timing 120 "$python" -m pytest -q -p no:cacheprovider "${settings[@]}" \
                tests/bench tests/kernels/test_host_work.py
            ;;
        *)
            echo "no such part: $part"
            failed=1
            ;;
    esac
done

printf '\n%-10s %-12s %5s  %s\n' part result s "last line"
for row in "${table[@]}"; do
    IFS='|' read -r name status taken line <<<"$row"
    printf '%-10s %-12s %5s  %s\n' "$name" "$status" "$taken" "$line"
done
echo "$SECONDS s in all; reports and gpu.log are in $out"
exit $failed
