# Makes the root of a throw-away machine and becomes its systemd-nspawn. Runs in a mount namespace of its own, so that
# every mount here ends with the last process in it. From the environment: BASE (a temporary directory) with `work` (empty)
# and `seed` (files for the upper directory) in it, NAME, HOSTNAME_INSIDE, CGROUP. Arguments: layers between the host's
# root and the seed, lowest first.
set -eu
umask 022

WORK=$BASE/work
exec 3<&0 </dev/null

mount -t tmpfs -o mode=0755 tcs-machine "$WORK"
mkdir "$WORK/upper" "$WORK/work" "$WORK/root"
lower=/
number=0
for layer in "$@"; do
    # A layer below the host's own root would overlap with it: the kernel refuses that, a copy in memory does not.
    number=$((number + 1))
    flock --shared "$layer.lock" cp -a "$layer" "$WORK/layer$number"
    lower="$WORK/layer$number:$lower"
done
cp -a "$BASE/seed/." "$WORK/upper/"
mount -t overlay -o "lowerdir=$lower,upperdir=$WORK/upper,workdir=$WORK/work" overlay "$WORK/root"

# systemd-nspawn keeps locks and propagation directories here: not on the host.
mount -t tmpfs -o mode=0755 tcs-machine /run

# A control group of its own in each hierarchy that systemd may use: two machines in one would end each other's services.
groups=
for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
    if [ -e "$hierarchy/cgroup.procs" ]; then
        # What a clean-up that was killed itself has left: empty groups of processes that are gone.
        for stale in "$hierarchy"/tcs-machine-*; do
            owner=${stale##*/tcs-machine-}
            if [ ! -e "/proc/${owner%-*}" ]; then find "$stale" -depth -type d -exec rmdir {} + 2>/dev/null || true; fi
        done
        mkdir "$hierarchy/$CGROUP"
        groups="$groups $hierarchy/$CGROUP"
    fi
done

# The clean-up: wakes when the process that started us is gone or lets go, not on
# Ctrl-C, and takes away what is empty now.
(
    set +e
    trap '' INT TERM HUP
    exec >/dev/null 2>&1
    cat <&3
    umount --lazy "$WORK"
    rm -rf --one-file-system "$BASE"
    for attempt in $(seq 200); do
        left=
        for group in $groups; do
            find "$group" -depth -type d -exec rmdir {} +
            if [ -d "$group" ]; then left=1; fi
        done
        [ -n "$left" ] || exit 0
        sleep 0.05
    done
) &
exec 3<&-

for group in $groups; do
    echo $$ > "$group/cgroup.procs"
done

# A PID namespace of its own around systemd-nspawn, which alone would let the machine's systemd outlive it: when we end, the
# kernel ends `unshare`, with it the first process in there, and with that one everything else.
exec unshare --pid --fork --kill-child --mount-proc -- \
    systemd-nspawn --quiet --directory="$WORK/root" --machine="$NAME" --hostname="$HOSTNAME_INSIDE" --boot \
    --register=no --keep-unit --notify-ready=yes --console=read-only --private-network \
    --resolv-conf=off --timezone=off --link-journal=no \
    -- systemd.unit=tcs-test.target
