# Installs packages on the host, in a mount namespace of its own in which maintainer scripts can start nothing: the
# helpers that would start a package's own server are `true` here, and are themselves again when this ends.
set -eu
for helper in /usr/sbin/invoke-rc.d /usr/bin/deb-systemd-invoke; do
    if [ -e "$helper" ]; then mount --bind /bin/true "$helper"; fi
done
export DEBIAN_FRONTEND=noninteractive
apt-get --quiet update
apt-get --quiet --yes install --no-install-recommends "$@"
