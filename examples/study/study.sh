#!/bin/sh
# Eight objectives at equal compute, three seeds each, on emoji and on clip art; then one page for each data set. `prepare.sh` goes first.
#
#   ./study.sh                    all of it: 48 runs of about 150 seconds on one core each, two at a time; what is there already is not run again
#   ./study.sh pace               only measures how many steps of each objective take that long on this machine (steps.txt)
#   VLHUB=path/to/vlhub SECONDS_EACH=150 SEEDS="1 2 3" JOBS=2 ./study.sh
#
# Equal compute: each objective gets the steps that it takes in SECONDS_EACH on one core, measured once and kept in steps.txt, so that every
# seed and both data sets have the same steps.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
vlhub=${VLHUB:-vlhub}
case $vlhub in */*) vlhub=$(cd "$(dirname "$vlhub")" && pwd)/$(basename "$vlhub") ;; esac
seconds=${SECONDS_EACH:-150}
seeds=${SEEDS:-1 2 3}
jobs=${JOBS:-2}
cd "$here"

# Recipe and which of the bases it stands on.
objectives="clip:_text siglip:_text filip:_text slip:_text declip:_text coca:_text simclr: supervised:_classes"
alone="train.torch_threads=1 train.workers=1 train.log_every=1000000 train.show_batch=false"

if [ ! -f steps.txt ]; then
    for pair in $objectives; do
        objective=${pair%%:*}
        # shellcheck disable=SC2086
        "$vlhub" train "../recipes/$objective.toml" "base=../recipes/_emoji${pair#*:}.toml" "name=pace_$objective" logs=logs/pace \
            train.steps=24 train.save_every=24 schedule.warmup=1 'eval={}' $alone >/dev/null 2>&1
        # The median pace, because the first steps are slow.
        sed 's/.*"samples_per_second":\([0-9.]*\).*/\1/' "logs/pace/pace_$objective/metrics.jsonl" | sort -n |
            awk -v name="$objective" -v seconds="$seconds" '{ pace[NR] = $1 } END { printf "%s %d\n", name, pace[int((NR + 1) / 2)] / 128 * seconds }'
    done >steps.part
    mv steps.part steps.txt
fi
cat steps.txt
[ "${1:-}" = pace ] && exit

list=$(mktemp)
for seed in $seeds; do
    for pair in $objectives; do
        objective=${pair%%:*}
        steps=$(sed -n "s/^$objective //p" steps.txt)
        for data in emoji clipart; do
            folder=../recipes
            [ $data = clipart ] && folder=../study
            name=${objective}_$seed
            if [ ! -f "logs/$data/$name/report.html" ]; then
                echo "train ../recipes/$objective.toml base=$folder/_$data${pair#*:}.toml name=$name logs=logs/$data seed=$seed" \
                    "train.steps=$steps train.save_every=$steps --resume auto $alone"
            fi
        done
    done
done >"$list"
xargs -P "$jobs" -a "$list" -L 1 "$vlhub"
rm "$list"

for data in emoji clipart; do
    "$vlhub" compare logs/$data/* --out "$data.html" >"$data.txt"
    echo "wrote $here/$data.html"
done
