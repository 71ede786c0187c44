# Installs packages into a layer for machines, not on the host: into an overlay over the host's root, in a mount
# namespace of its own. From the environment: WORK (an empty directory), OUT (where the layer goes), SERVERISH (a pip
# requirement, or empty). Arguments: the packages.
set -eu
umask 022
mount -t tmpfs -o mode=0755 tcs-layer "$WORK"
mkdir "$WORK/upper" "$WORK/work" "$WORK/root"
root=$WORK/root
mount -t overlay -o "lowerdir=/,upperdir=$WORK/upper,workdir=$WORK/work" overlay "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tcs-layer "$root/tmp"
mount -t tmpfs -o mode=0755 tcs-layer "$root/run"
cp --remove-destination --dereference /etc/resolv.conf "$root/etc/resolv.conf"
printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
chmod 0755 "$root/usr/sbin/policy-rc.d"

export DEBIAN_FRONTEND=noninteractive
chroot "$root" apt-get --quiet update
chroot "$root" apt-get --quiet --yes install --no-install-recommends "$@"
if [ -n "$SERVERISH" ]; then
    chroot "$root" /usr/bin/python3 -m venv /opt/tcs-test/python
    # Machines are of use without it: what asks for it says what pip said.
    chroot "$root" /opt/tcs-test/python/bin/pip install --quiet "$SERVERISH" 2> "$root/opt/tcs-test/pip.log" || true
fi

umount --lazy --recursive "$root"
cd "$WORK/upper"
rm -rf etc/resolv.conf usr/sbin/policy-rc.d var/cache/apt var/lib/apt/lists root tmp run dev proc
mkdir -p "$OUT.new"
cp -a . "$OUT.new/"
