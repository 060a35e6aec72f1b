#!/usr/bin/env bash
# systemd as the first process of new namespaces, with the units of packaging/ and Debian's of Open vSwitch, and no others.
#
#   boot.sh CHECKOUT PYTHON     prints the number of systemd's process; runs until that one ends, and leaves nothing
#
# /etc, /var and /usr/local are seen through overlays, /run is new, the network is empty, systemd's control groups are in one of
# their own: nothing that happens inside is on this machine's disk, network or systemd.
set -euo pipefail

outside() {
    mount --make-rprivate /
    local groups=/run/groups own ended=0
    mount -t tmpfs -o mode=755 tmpfs /run
    mkdir $groups /run/layers
    mount -t cgroup2 cgroup2 $groups
    own=$groups/floatway-boot-$$
    mkdir "$own"
    echo $$ >"$own/cgroup.procs" # what is the root of the new control group namespace
    setpriv --pdeathsig KILL unshare --cgroup --mount --net --uts --ipc --pid --fork --kill-child "$0" --inside /run/layers "$@" || ended=$?
    echo $$ >$groups/cgroup.procs
    find "$own" -depth -type d -exec rmdir {} +
    exit $ended
}

inside() { # LAYERS CHECKOUT PYTHON
    local layers=$1 checkout=$2 python=$3 pid tree units=/etc/systemd/system
    read -r pid _ </proc/self/stat # still the outer one's number
    echo "$pid"
    mount -t proc proc /proc
    mount -t sysfs sysfs /sys
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    for tree in /etc /var /usr/local; do
        mkdir -p "$layers$tree/upper" "$layers$tree/work"
        mount -t overlay -o "lowerdir=$tree,upperdir=$layers$tree/upper,workdir=$layers$tree/work" overlay "$tree"
    done
    mount -t tmpfs -o mode=755 tmpfs /run
    for tree in $units /etc/openvswitch /etc/floatway /var/lib/floatway /var/lib/openvswitch /var/log/openvswitch; do
        mkdir -p $tree && mount -t tmpfs -o mode=755 tmpfs $tree
    done
    mkdir -p /run/netns /run/lock
    hostname compute1
    id floatway >/dev/null 2>&1 || useradd --system floatway

    # where ProtectHome= does not hide it, wherever it is
    mkdir -p /usr/local/src/floatway
    mount --bind "$checkout" /usr/local/src/floatway
    printf '#!/bin/sh\nexport PYTHONPATH=/usr/local/src/floatway/src PYTHONDONTWRITEBYTECODE=1\nexec %s -m floatway "$@"\n' \
        "${python/#"$checkout"//usr/local/src/floatway}" >/usr/local/bin/floatway
    # Debian's ovs-ctl would unload the machine's bridge module where there is none of Open vSwitch
    printf '#!/bin/sh\necho "$0 $@" "$(grep CapEff /proc/self/status)" >>/run/modules.log\n' >/usr/local/sbin/modprobe
    cp /usr/local/sbin/modprobe /usr/local/sbin/rmmod
    chmod 755 /usr/local/bin/floatway /usr/local/sbin/*mod*

    cp "$checkout"/packaging/*.service /lib/systemd/system/{ovsdb-server,ovs-vswitchd,openvswitch-switch}.service $units
    for tree in sysinit basic multi-user shutdown network network-online; do
        printf '[Unit]\nDescription=%s\n' $tree >$units/$tree.target
    done
    mkdir $units/service.d
    printf '[Service]\nStandardOutput=append:/run/%%N.log\nStandardError=append:/run/%%N.log\n' >$units/service.d/log.conf
    exec env -i PATH="$PATH" container=floatway SYSTEMD_UNIT_PATH=$units SYSTEMD_GENERATOR_PATH=/none \
        /lib/systemd/systemd --system --unit=multi-user.target --log-target=console --show-status=no >/run/systemd.log 2>&1
}

if [[ $1 == --inside ]]; then
    shift
    inside "$@"
elif [[ $1 == --outside ]]; then
    shift
    outside "$@"
else
    exec unshare --mount "$0" --outside "$@"
fi
