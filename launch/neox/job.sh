# what the job of launch.slurm runs on its first node, after the variables that are set above it; @NAME@ is filled in, and the
# second part (between two lines `#@`) is for the launcher slurm alone
#@

# where the runs of this job keep their hostfile; removed by nobody, a few hundred bytes
place="$logs/slurm-${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"
mkdir -p "$place" || exit 1
"$python" -m launch.hostfile "$place/hostfile" --from slurm --gpus-per-node "$gpus" || exit 2
first=$(head -n 1 "$place/hostfile" | cut -d ' ' -f 1)
# the name that Slurm calls a node by need not be one that resolves: its address is what the ranks need
MASTER_ADDR=$(scontrol show node "$first" | sed -n 's/.*NodeAddr=\([^ ]*\).*/\1/p')
MASTER_ADDR="${MASTER_ADDR:-$first}"
export MASTER_ADDR MASTER_PORT="${MASTER_PORT:-$((20000 + SLURM_JOB_ID % 10000))}"
echo "haigo: job $SLURM_JOB_ID, start $((${SLURM_RESTART_COUNT:-0} + 1)), on $SLURM_JOB_NODELIST, MASTER_ADDR $MASTER_ADDR"
#@

# DeeperSpeed writes NAME="value" into srun's --export, and srun keeps the quotes: NCCL would look for an interface called
# "eth0". The values travel under other names, and every task gets them back before it starts.
for name in $(compgen -e | grep -E '^(@PREFIXES@)'); do export "@KEPT@$name=${!name}"; done
cat > "$place/prolog" <<'END'
#!/bin/bash
for kept in $(compgen -A export @KEPT@); do printf 'export %s=%s\n' "${kept#@KEPT@}" "${!kept}"; done
END
chmod 755 "$place/prolog" && export SLURM_TASK_PROLOG="$place/prolog"
#@

# launch.deepy itself knows what to do with these signals: it waits for the next checkpoint when that is near, stops every
# rank and puts the job back into the queue, where it goes on from its last good checkpoint
asked=
pass_on() {
  asked=$1
  echo "haigo: SIG$1, $([ "$1" = USR1 ] && echo "the time limit is near" || echo "the job is to end")"
  [ -z "$child" ] || kill -s "$1" "$child" 2> /dev/null
}
trap 'pass_on USR1' USR1
trap 'pass_on TERM' TERM
again=()
if [ "${SLURM_RESTART_COUNT:-0}" -lt "$requeues" ]; then again=(--requeue); fi
"$python" -m launch.deepy train.py "${run[@]}" -H "$place/hostfile" --log "$place/train.log" \
  --grace-seconds "$grace" "${again[@]}" &
child=$!
[ -z "$asked" ] || kill -s "$asked" "$child"
wait "$child"
code=$?
while kill -0 "$child" 2> /dev/null; do wait "$child"; code=$?; done
if [ "$asked" = USR1 ] && [ "$code" != 0 ]; then
  if [ ${#again[@]} = 0 ]; then
    echo "haigo: queued again $requeues times already, left"
  elif [ "$code" = 138 ]; then
    echo "haigo: the signal came before the training was watched, queued again"
    scontrol requeue "$SLURM_JOB_ID"
  fi
fi
echo "haigo: ended with $code"
exit "$code"
