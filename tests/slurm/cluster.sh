#!/usr/bin/env bash
# A private SLURM on 127.0.0.1, without systemd and without touching /etc: munged, slurmctld, two CPU nodes with four CPUs and one
# node with two GPUs (links to /dev/null: counted and bound, not computed with); with accounting also MariaDB and slurmdbd.
#   cluster.sh start DIR PORT [accounting]     then put DIR/bin first on PATH
#      CLUSTER_EDIT, a program of sed, changes slurm.conf and gres.conf; CLUSTER_ACCOUNTS, arguments of sacctmgr, one call per line
#   cluster.sh slurmctld|slurmdbd DIR          start a daemon that was stopped
#   cluster.sh stop DIR                        stop what the pid files name, and remove DIR
# With CLUSTER_ROOT, the root folder of another Debian (tests/slurm/newest.sh), SLURM and its jobs run there.
# Everything is found through DIR/slurm.conf; the commands in DIR/bin set SLURM_CONF, which Snakemake's plugin takes away.
set -euo pipefail
D=$2
PATH=$PATH:/usr/sbin:/sbin
if [ -n "${CLUSTER_ROOT:-}" ] && [ -z "${CLUSTER_INSIDE:-}" ]; then
    CLUSTER_INSIDE=yes exec chroot "$CLUSTER_ROOT" /bin/bash "$(realpath "${BASH_SOURCE[0]}")" "$@"
fi
export SLURM_CONF=$D/slurm.conf

start_munge() {
    (umask 077 && head -c 128 /dev/urandom >"$D/munge.key")
    munged --key-file="$D/munge.key" --socket="$D/run/munge.sock" --pid-file="$D/run/munged.pid" \
        --log-file="$D/log/munged.log" --seed-file="$D/run/munged.seed" --num-threads=2 --origin=127.0.0.1
}

configure() {
    local port=$1 accounting=$2 me
    me=$(id -un)
    ln -s /dev/null "$D/dev/nvidia0"
    ln -s /dev/null "$D/dev/nvidia1"
    echo "NodeName=gpu1 Name=gpu Flags=nvidia_gpu_env File=$D/dev/nvidia[0-1]" >"$D/gres.conf"
    cat >"$D/slurm.conf" <<END
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=$me
SlurmdUser=$me
SlurmctldPort=$port
AuthType=auth/munge
AuthInfo=socket=$D/run/munge.sock
CredType=cred/munge
StateSaveLocation=$D/state
SlurmdSpoolDir=$D/spool/%n
SlurmctldPidFile=$D/run/slurmctld.pid
SlurmdPidFile=$D/run/slurmd-%n.pid
SlurmctldLogFile=$D/log/slurmctld.log
SlurmdLogFile=$D/log/slurmd-%n.log
SlurmdDebug=debug2
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
GresTypes=gpu
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
ReturnToService=2
EnforcePartLimits=NO
MinJobAge=86400
KillWait=5
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=0,bf_interval=2
$accounting
NodeName=cpu1 NodeHostname=localhost NodeAddr=127.0.0.1 Port=$((port + 10)) CPUs=4 RealMemory=20000 State=UNKNOWN
NodeName=cpu2 NodeHostname=localhost NodeAddr=127.0.0.1 Port=$((port + 11)) CPUs=4 RealMemory=20000 State=UNKNOWN
NodeName=gpu1 NodeHostname=localhost NodeAddr=127.0.0.1 Port=$((port + 12)) CPUs=4 RealMemory=20000 Gres=gpu:2 State=UNKNOWN
PartitionName=cpu Nodes=cpu[1-2] Default=YES MaxTime=1-0 DefaultTime=10 DefMemPerCPU=100 State=UP
PartitionName=gpu Nodes=gpu1 MaxTime=1-0 DefaultTime=10 DefMemPerCPU=100 State=UP GraceTime=20
PartitionName=urgent Nodes=gpu1 MaxTime=1-0 PriorityTier=10 PreemptMode=OFF DefMemPerCPU=100 State=UP
END
}

start_database() {
    local port=$1 me owner
    me=$(id -un)
    owner=$me
    mkdir "$D/mysql"
    if [ "$me" = root ]; then owner=mysql && chown mysql "$D/mysql"; fi
    mariadb-install-db --force --user="$owner" --datadir="$D/mysql" --auth-root-authentication-method=normal --skip-test-db >"$D/log/mysql_install.log" 2>&1
    mariadbd --no-defaults --user="$owner" --datadir="$D/mysql" --socket="$D/run/m.sock" --bind-address=127.0.0.1 --port=$((port + 3)) \
        --pid-file="$D/run/mariadb.pid" --loose-innodb-snapshot-isolation=OFF --innodb-buffer-pool-size=64M --innodb-lock-wait-timeout=900 >"$D/log/mariadb.log" 2>&1 </dev/null &
    for _ in $(seq 100); do mariadb -uroot -S "$D/run/m.sock" -e 'select 1' >/dev/null 2>&1 && break || sleep .2; done
    mariadb -uroot -S "$D/run/m.sock" -e "create database slurm_acct_db;
        create user 'slurm'@'%' identified by 'slurm'; grant all on slurm_acct_db.* to 'slurm'@'%';
        create user 'slurm'@'localhost' identified by 'slurm'; grant all on slurm_acct_db.* to 'slurm'@'localhost';"
    (umask 077 && cat >"$D/slurmdbd.conf" <<END
AuthType=auth/munge
AuthInfo=socket=$D/run/munge.sock
DbdHost=localhost
DbdPort=$((port + 2))
SlurmUser=$me
LogFile=$D/log/slurmdbd.log
PidFile=$D/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$((port + 3))
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
END
    )
    slurmdbd
    for _ in $(seq 50); do timeout 5 sacctmgr -n show cluster >/dev/null 2>&1 && break || sleep .2; done
    timeout 20 sacctmgr -i add cluster test >"$D/log/sacctmgr.log" 2>&1 || true
    timeout 20 sacctmgr -i add account lab >>"$D/log/sacctmgr.log" 2>&1
    timeout 20 sacctmgr -i add user "$me" account=lab adminlevel=Admin >>"$D/log/sacctmgr.log" 2>&1
    while read -r words; do
        # shellcheck disable=SC2086
        [ -z "$words" ] || timeout 20 sacctmgr -i $words >>"$D/log/sacctmgr.log" 2>&1 </dev/null
    done <<<"${CLUSTER_ACCOUNTS:-}"
}

wrap_commands() {
    local command real enter=''
    [ -z "${CLUSTER_ROOT:-}" ] || enter="[ ! -d $CLUSTER_ROOT/usr ] || exec chroot $CLUSTER_ROOT /bin/sh -c 'cd \"\$1\"; shift; exec \"\$@\"' sh \"\$PWD\" \"\$0\" \"\$@\""
    for command in srun sbatch squeue scancel scontrol sinfo sacct sacctmgr sshare; do
        real=$(command -v $command) || continue
        printf '#!/bin/sh\n%b\nSLURM_CONF=%s exec %s "$@"\n' "$enter" "$SLURM_CONF" "$real" >"$D/bin/$command"
        chmod +x "$D/bin/$command"
    done
}

stop_pid() {
    local pid
    pid=$(cat "$1" 2>/dev/null) && kill "$pid" 2>/dev/null || return 0
    for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null && ! grep -q '^State:.Z' "/proc/$pid/status" 2>/dev/null || return 0; sleep .1; done
    kill -9 "$pid" 2>/dev/null || true
}

case $1 in
start)
    mkdir -p "$D"/{state,spool/cpu1,spool/cpu2,spool/gpu1,log,run,dev,bin}
    chmod 755 "$D"
    chmod 1777 "$D/run"
    start_munge
    accounting='AccountingStorageType=accounting_storage/none'
    [ "${4:-}" != accounting ] || accounting="AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePass=$D/run/munge.sock
AccountingStoragePort=$(($3 + 2))
AccountingStorageTRES=gres/gpu"
    configure "$3" "$accounting"
    [ -z "${CLUSTER_ROOT:-}" ] || echo CgroupPlugin=disabled >"$D/cgroup.conf"  # a chroot has no cgroup of its own
    [ -z "${CLUSTER_EDIT:-}" ] || sed -E -i "$CLUSTER_EDIT" "$D/slurm.conf" "$D/gres.conf"
    [ "${4:-}" != accounting ] || start_database "$3"
    slurmctld
    for node in cpu1 cpu2 gpu1; do slurmd -N "$node"; done
    wrap_commands
    for _ in $(seq 150); do
        [ "$(sinfo -h -N -t idle -o %N 2>/dev/null | sort -u | grep -c .)" = 3 ] && exit 0
        sleep .2
    done
    tail -n 20 "$D"/log/*.log >&2
    exit 1
    ;;
slurmctld | slurmdbd) "$1" ;;
stop)
    timeout 20 scancel --state=RUNNING,PENDING,SUSPENDED >/dev/null 2>&1 || true
    sleep .3
    for file in "$D"/run/slurmd-*.pid "$D"/run/slurmctld.pid "$D"/run/slurmdbd.pid "$D"/run/mariadb.pid "$D"/run/munged.pid; do
        stop_pid "$file"
    done
    rm -rf "$D"
    ;;
esac
