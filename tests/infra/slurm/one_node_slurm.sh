#!/usr/bin/env bash
# Runs a command on the one node of a Slurm of its own: munged, slurmctld and slurmd in namespaces of their own (processes,
# mounts, network, host name), with two partitions, of which `high` preempts `low`. Needs root, unshare, ip, munge and
# slurm-wlm.
#
#   one_node_slurm.sh FOLDER COMMAND...     FOLDER: an empty folder; it holds Slurm's files.
set -euo pipefail

if [ "${1:-}" != --inside ]; then
  folder=$(realpath "$1")
  # All processes end with this one.
  exec unshare --pid --mount --net --uts --ipc --fork --kill-child --mount-proc "$0" --inside "$folder" "${@:2}"
fi

folder=$2
mkdir -p "$folder/state" "$folder/spool" "$folder/home" "$folder/run"
mount --make-rprivate /
hostname node-1
ip link set lo up
# Slurm wants an address that is not the loopback's.
ip link add eth0 type veth peer name eth1
ip address add 10.77.1.1/24 dev eth0
ip link set eth0 up
ip link set eth1 up
printf '127.0.0.1 localhost\n10.77.1.1 node-1\n' > "$folder/hosts"
mount --bind "$folder/hosts" /etc/hosts
echo 'hosts: files' > "$folder/nsswitch.conf"
mount --bind "$folder/nsswitch.conf" /etc/nsswitch.conf
export HOME="$folder/home"

# The folder's own path may be open to others, which munge refuses; the place of its socket is short and closed.
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/munge /run/slurm
head -c 128 /dev/urandom > /run/munge/key
chmod 600 /run/munge/key
munged --key-file /run/munge/key --socket /run/munge/munge.socket.2 --pid-file /run/munge/pid \
  --log-file /run/munge/log --seed-file /run/munge/seed

export SLURM_CONF="$folder/slurm.conf"
cat > "$SLURM_CONF" <<CONFIG
ClusterName=one
SlurmctldHost=node-1
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A job that goes back into the queue may start again once its credential has run out.
AuthInfo=socket=/run/munge/munge.socket.2,cred_expire=5
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=/run/slurm/slurmctld.pid
SlurmdPidFile=/run/slurm/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
ReturnToService=2
KillWait=30
NodeName=node-1 CPUs=2 RealMemory=1000
PartitionName=low Nodes=node-1 Default=YES PriorityTier=1 GraceTime=120 State=UP
PartitionName=high Nodes=node-1 PriorityTier=2 PreemptMode=OFF State=UP
CONFIG
slurmctld
slurmd
for _ in $(seq 100); do
  [ "$(sinfo --noheader --partition low --format %t 2> /dev/null)" = idle ] && break
  sleep 0.2
done
"${@:3}"
