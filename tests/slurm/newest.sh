#!/usr/bin/env bash
# The newest SLURM that Debian has, with its accounting, in a root folder of its own (600 MB), for tests on a machine whose SLURM is older.
#   newest.sh make ROOT          download it, unless ROOT is there (a minute or two); needs root and mmdebstrap
#   newest.sh mount ROOT PATH... let its programs see these paths of this machine, at the same place
#   newest.sh umount ROOT        undo that
set -euo pipefail
R=$2
# Of the libraries, those that Python's modules of this machine need: jobs run in there.
PACKAGES=slurmctld,slurmd,slurm-client,munge,slurmdbd,mariadb-server,procps,libssl3t64,libffi8,libsqlite3-0,libbz2-1.0,liblzma5,zlib1g
case $1 in
make)
    [ ! -x "$R/usr/sbin/slurmdbd" ] || exit 0
    "$0" umount "$R" # one of before, without accounting
    rm -rf --one-file-system "$R" "$R.new"
    mmdebstrap --quiet --variant=apt --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Apt::Install-Recommends "false"' \
        --include=$PACKAGES sid "$R.new" http://deb.debian.org/debian
    mv "$R.new" "$R"
    ;;
mount)
    echo "127.0.0.1 localhost $(hostname)" >"$R/etc/hosts"
    for path in /proc /sys /dev "${@:3}"; do
        mkdir -p "$R$path"
        mountpoint -q "$R$path" || { mount --rbind "$path" "$R$path" && mount --make-rslave "$R$path"; }
    done
    ;;
umount)
    [ -d "$R" ] || exit 0
    echo "127.0.0.1 localhost $(hostname)" >"$R/etc/hosts"
    awk -v root="$R/" 'index($2, root) == 1 { print $2 }' /proc/mounts | sort -r | while read -r path; do umount -l "$path" || true; done
    ;;
esac
