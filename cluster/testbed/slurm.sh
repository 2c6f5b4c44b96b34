#!/usr/bin/env bash
# A Slurm cluster on one machine: munged, slurmctld and a slurmd a node, on hosts of hosts.sh, without systemd. It runs the job
# scripts of cluster/slurm as they are. docs/testbed.md has what differs from a real one.
set -euo pipefail

usage() {
  cat <<'END_OF_USAGE'
Usage: slurm.sh up DIR [NODES]               nodes h1 to hNODES (2), of 2 processors each (TRIREME_TESTBED_SLOTS)
       slurm.sh exec DIR COMMAND [ARG]...    a command on h1, the login node, in this folder: sbatch, squeue, scancel, ...
       slurm.sh down DIR                     ends all jobs and daemons, and removes the hosts; logs stay in DIR/log

  cluster/testbed/slurm.sh up /tmp/slurm
  cluster/testbed/slurm.sh exec /tmp/slurm sbatch --nodes=2 cluster/slurm/train.sbatch run.ini
  cluster/testbed/slurm.sh down /tmp/slurm

Needs root, and the Debian packages of the group "cluster" in launch/packages.txt. Several may be up at the same time, in folders
of their own.
END_OF_USAGE
}

fail() {
  echo "slurm.sh: $*" >&2
  exit 7
}
misused() {
  echo "slurm.sh: $* (slurm.sh --help)" >&2
  exit 2
}

hosts=$(dirname "$(realpath "${BASH_SOURCE[0]}")")/hosts.sh

# Time is short on a testbed: what a large cluster does every half minute happens here at once, and a job that is requeued starts
# within seconds (cred_expire; Slurm otherwise waits two minutes for its credentials to expire).
write_config() {
  local num=$1 i
  cat <<END_OF_CONFIG
ClusterName=testbed
SlurmctldHost=h1
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/munge/socket,cred_expire=5
CredType=cred/munge
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.%n.pid
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool/%n
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd.%n.log
TmpFS=$dir/tmp/%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2
SlurmdTimeout=10
KillWait=5
MinJobAge=600
ReturnToService=2
SlurmdParameters=config_overrides
MpiDefault=none
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
END_OF_CONFIG
  for ((i = 1; i <= num; i++)); do echo "NodeName=h$i CPUs=${TRIREME_TESTBED_SLOTS:-2} State=UNKNOWN"; done
  echo "PartitionName=low Nodes=h[1-$num] Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=10"
  echo "PartitionName=high Nodes=h[1-$num] MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF"
}

# In DIR: the configuration, and "testbed", the hosts.
find_cluster() {
  dir=$(realpath -m "$1")
  export TRIREME_TESTBED=$dir/testbed SLURM_CONF=$dir/slurm.conf
}
# daemon HOST COMMAND...: without what an mpirun on these hosts is told, which jobs would inherit.
daemon() { setsid "$hosts" exec "$1" env -i PATH="$PATH" HOME=/root SLURM_CONF="$SLURM_CONF" "${@:2}" </dev/null >>"$dir/log/out" 2>&1 3>&- 4>&- & }

up() {
  local num=${2:-2} i tool nodes
  if [[ ! $num =~ ^[1-9][0-9]?$ ]]; then misused "up $1 $num: a number of nodes from 1 to 99"; fi
  if ((EUID != 0)); then fail "Slurm's daemons want root"; fi
  for tool in munged slurmctld slurmd sbatch; do
    command -v "$tool" >/dev/null || fail "no program $tool: launch/setup.sh cluster"
  done
  find_cluster "$1"
  if [[ -d $TRIREME_TESTBED ]]; then fail "$dir has a cluster already: slurm.sh down $dir"; fi
  mkdir -p "$dir"/{munge,state,log}
  chmod 700 "$dir/munge"
  write_config "$num" >"$SLURM_CONF"
  "$hosts" up "$num" "$TRIREME_TESTBED" >/dev/null
  trap 'down "$1"' EXIT
  head -c 128 /dev/urandom >"$dir/munge/key"
  chmod 400 "$dir/munge/key"
  # Not in its own words a daemon, so that it ends with the other processes of h1.
  daemon h1 munged --foreground --force --socket "$dir/munge/socket" --key-file "$dir/munge/key" --pid-file "$dir/munge/pid" \
    --log-file "$dir/log/munged.log" --seed-file "$dir/munge/seed"
  for ((i = 0; i < 100; i++)); do
    if [[ -S $dir/munge/socket ]]; then break; fi
    sleep 0.1
  done
  daemon h1 slurmctld -D -f "$SLURM_CONF"
  for ((i = 1; i <= num; i++)); do
    mkdir -p "$dir/spool/h$i" "$dir/tmp/h$i"
    daemon "h$i" slurmd -D -f "$SLURM_CONF"
  done
  for ((i = 0; i < 150; i++)); do
    nodes=$("$hosts" exec h1 sinfo -h -p low -t idle -o %D 2>/dev/null || true)
    if [[ $nodes == "$num" ]]; then
      trap - EXIT
      return 0
    fi
    sleep 0.2
  done
  fail "the nodes did not come up within 30 s: $(tail -n 3 "$dir"/log/*.log "$dir/log/out")"
}

down() {
  find_cluster "$1"
  if [[ -d $TRIREME_TESTBED ]]; then "$hosts" down; fi
  rm -rf "${dir:?}"/{munge,state,spool,tmp} "$dir"/*.pid
}

case ${1:-} in
  up)
    if (($# < 2 || $# > 3)); then misused "up wants a folder"; fi
    up "${@:2}" ;;
  exec)
    if (($# < 3)); then misused "exec wants a folder and a command"; fi
    find_cluster "$2"
    if [[ ! -d $TRIREME_TESTBED ]]; then misused "$dir has no cluster: slurm.sh up $dir"; fi
    # A job gets sbatch's environment. On nodes of Slurm mpirun starts its daemons by srun, and takes the hosts from the job.
    export -n TRIREME_TESTBED
    TRIREME_TESTBED=$TRIREME_TESTBED exec "$hosts" exec h1 env -u TRIREME_TESTBED -u OMPI_MCA_plm_rsh_agent \
      -u OMPI_MCA_orte_default_hostfile -u OMPI_MCA_orte_tmpdir_base "${@:3}" ;;
  down)
    if (($# != 2)); then misused "down wants a folder"; fi
    down "$2" ;;
  -h | --help) usage ;;
  *) misused "${1:-nothing}: no such command" ;;
esac
