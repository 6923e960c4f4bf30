#!/bin/sh
# Eight objectives at equal compute, three seeds each, on emoji and on clip art; then one page for each data set. `prepare.sh` goes first.
#
#   ./study.sh                    all of it: 48 runs of about 150 seconds on one core each, two at a time; what is there already is not run again
#   ./study.sh pace               only measures how many steps of each objective take that long on this machine (steps_emoji.txt, steps_clipart.txt)
#   VLHUB=path/to/vlhub SECONDS_EACH=150 SEEDS="1 2 3" JOBS=2 ./study.sh
#
# Equal compute: each objective gets the steps that take SECONDS_EACH of processor time, measured once for each data set and
# kept, so that every seed has the same steps.
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

# Seconds of processor time that the children of this shell have taken.
cpu() {
    times >times.part
    awk 'NR == 2 { split($1, part, "[ms]"); print part[1] * 60 + part[2] }' times.part
}

base_of() {
    if [ "$1" = clipart ]; then echo "../study/_clipart$2.toml"; else echo "../recipes/_emoji$2.toml"; fi
}

# Of each data set by itself: captions of clip art are longer, and objectives read them at different cost.
for data in emoji clipart; do
    [ -f "steps_$data.txt" ] && continue
    for pair in $objectives; do
        objective=${pair%%:*}
        # Processor time, which other work on the machine hardly changes; of 24 steps, without the start.
        for steps in 4 28; do
            cpu >"cpu_$steps.part"
            # shellcheck disable=SC2086
            "$vlhub" train "../recipes/$objective.toml" "base=$(base_of $data "${pair#*:}")" "name=pace_${data}_${objective}_$steps" logs=logs/pace \
                train.steps=$steps train.save_every=$steps schedule.warmup=1 'eval={}' $alone >/dev/null 2>&1
            cpu >>"cpu_$steps.part"
        done
        cat cpu_4.part cpu_28.part | awk -v name="$objective" -v seconds="$seconds" \
            '{ at[NR] = $1 } END { printf "%s %d\n", name, seconds * 24 / ((at[4] - at[3]) - (at[2] - at[1])) }'
    done >steps.new
    mv steps.new "steps_$data.txt"
    rm -f ./*.part
done
head steps_emoji.txt steps_clipart.txt
[ "${1:-}" = pace ] && exit

list=$(mktemp)
for seed in $seeds; do
    for pair in $objectives; do
        objective=${pair%%:*}
        for data in emoji clipart; do
            steps=$(sed -n "s/^$objective //p" "steps_$data.txt")
            name=${objective}_$seed
            if [ ! -f "logs/$data/$name/report.html" ]; then
                echo "train ../recipes/$objective.toml base=$(base_of $data "${pair#*:}") name=$name logs=logs/$data seed=$seed" \
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
