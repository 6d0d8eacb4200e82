# What the .sbatch files beside this one share; not for running by itself.
#
# SLURM asks the shell of the job (--signal=B:USR1@...) or, where another job needs the place, all of
# it (SIGTERM) to stop. The shell passes that on; the training saves a checkpoint after the step it is
# at and ends with status 75, and the job goes back into the queue. Whatever a training was doing when
# it was asked (testing, say), the job is queued again: the training goes on from its last checkpoint.

asked=0
step=
ask() {
  asked=$((asked + 1))
  [ -z "$step" ] || kill -USR1 "$step" 2>/dev/null
}
trap ask USR1 TERM

# One process per task, in the variables that torchrun uses: `train COMMAND...`
train() {
  export MASTER_ADDR MASTER_PORT
  MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
  MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))
  srun --kill-on-bad-exit=0 bash -c '
    export RANK=$SLURM_PROCID WORLD_SIZE=$SLURM_NTASKS LOCAL_RANK=$SLURM_LOCALID
    export LOCAL_WORLD_SIZE=$((SLURM_NTASKS / SLURM_NNODES))
    exec "$@"' task "$@" &
  step=$!
  status=0 before=-1
  until [ "$asked" -eq "$before" ]; do  # a trapped signal ends `wait`, not the training
    before=$asked code=0
    wait "$step" || code=$?
    [ "$code" -eq 127 ] || status=$code  # 127: the wait before saw the end
  done
  if [ "$status" -eq 75 ] || { [ "$asked" -gt 0 ] && [ "$status" -ne 0 ]; }; then
    echo "stopped with status $status: back into the queue"
    scontrol requeue "$SLURM_JOB_ID"
  fi
  return "$status"
}
