# what the job of launch.pbs runs on its first node, after the variables that are set above it
#@

number=${PBS_JOBID%%.*}
number=${number%%[*}
mkdir -p "$logs" || exit 1
exec >> "$logs/$name-$number.log" 2>&1
# the first line of every host in PBS_NODEFILE, which names a host once for each of its slots, and its number there
mapfile -t hosts < <(awk '!seen[$1]++ { print $1 }' "$PBS_NODEFILE")
mapfile -t slots < <(awk '!seen[$1]++ { print NR - 1 }' "$PBS_NODEFILE")
echo "haigo: job $PBS_JOBID, start $start, on ${hosts[*]}"
if [ "${#hosts[@]}" != "$nodes" ]; then
  echo "haigo: PBS gave ${#hosts[@]} hosts, and the run is for $nodes: see --chunk and --place"
  exit 2
fi
export MASTER_ADDR="${hosts[0]}" MASTER_PORT="${MASTER_PORT:-$((20000 + number % 10000))}"

# what PBS starts elsewhere has hardly any environment: it reads this job's, which nobody else can, and which goes at the end
place="$logs/pbs-$number"
mkdir -p "$place" && (umask 077 && export -p > "$place/environment") || exit 1
trap 'rm -f "$place/environment"' EXIT
{
  echo ". $(printf %q "$place/environment")"
  echo "cd $(printf %q "$PWD") || exit 1"
  printf 'exec %q -m launch.deepy train.py' "$python"
  printf ' %q' "${run[@]}" --every-node --nnodes "$nodes" --nproc-per-node "$gpus"
  # shellcheck disable=SC2016 # for the node's own shell
  echo ' --node-rank "$1"'
} > "$place/node.sh" || exit 1
elsewhere() {
  case "$launcher" in
    pbsdsh) pbsdsh -n "${slots[$1]}" -- /bin/bash "$place/node.sh" "$1" ;;
    ssh) ssh -o BatchMode=yes "${hosts[$1]}" /bin/bash "$(printf %q "$place/node.sh")" "$1" < /dev/null ;;
    mpirun) mpirun -np 1 --host "${hosts[$1]}" /bin/bash "$place/node.sh" "$1" < /dev/null ;;
  esac
}

# the run itself knows what to do with these: it waits for the next checkpoint when that is near, and stops every node's ranks
asked='' child=''
pass_on() {
  asked=$1
  echo "haigo: SIG$1, $([ "$1" = USR1 ] && echo "the time limit is near" || echo "the job is to end")"
  [ -z "$child" ] || kill -s "$1" "$child" 2> /dev/null
}
trap 'pass_on USR1' USR1
trap 'pass_on TERM' TERM
others=()
for ((rank = 1; rank < nodes; rank++)); do
  elsewhere "$rank" > "$place/node-$rank.log" 2>&1 &
  others+=($!)
done
"$python" -m launch.deepy train.py "${run[@]}" --every-node --nnodes "$nodes" --nproc-per-node "$gpus" --node-rank 0 \
  --log "$place/train.log" --grace-seconds "$grace" &
child=$!
timer=''
if [ "$limit" -gt 0 ]; then
  (sleep "$((limit - before_end))" && kill -s USR1 $$) > /dev/null 2>&1 &
  timer=$!
fi
wait "$child"
code=$?
while kill -0 "$child" 2> /dev/null; do wait "$child"; code=$?; done
[ -z "$timer" ] || kill "$timer" 2> /dev/null
# the other nodes end as the first one says; what does not is ended by PBS with the job
for ((second = 0; second < 30 && ${#others[@]}; second++)); do
  kill -0 "${others[@]}" 2> /dev/null || break
  sleep 1
done
if [ "$asked" = USR1 ] && [ "$code" != 0 ]; then
  if [ "$start" -gt "$resubmits" ]; then
    echo "haigo: submitted again $resubmits times already, left"
  elif next=$(qsub -W "depend=afterany:$PBS_JOBID" -v "HAIGO_START=$((start + 1))" "$script"); then
    echo "haigo: goes on in job $next"
  else
    echo "haigo: this node submits no jobs: go on with: qsub $script"
  fi
fi
echo "haigo: ended with $code"
exit "$code"
