#!/bin/sh
# units.sh DEBIAN
#
# Has systemd's own tools, which debian.sh has put into DEBIAN, look at the units in deploy/systemd: whether all in them is known, and
# how much they leave open. It needs the programs in bin.
set -eu
debian=$(cd "$1" && pwd)
export LD_LIBRARY_PATH="$debian/lib/x86_64-linux-gnu/systemd:$debian/lib/x86_64-linux-gnu:$debian/usr/lib/x86_64-linux-gnu"
analyze=$debian/usr/bin/systemd-analyze

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root/lib" "$root/etc/systemd/system" "$root/usr/local/bin"
cp -a "$debian/lib/systemd" "$root/lib/"
cp deploy/systemd/*.service "$root/etc/systemd/system/"
ln bin/kuma-cp bin/kuma-dp "$root/usr/local/bin/" 2>/dev/null || cp bin/kuma-cp bin/kuma-dp "$root/usr/local/bin/"

said=$("$analyze" verify --man=no --root="$root" kuma-cp.service kuma-dp@web-1.service 2>&1)
if [ -n "$said" ]; then
	echo "$said"
	exit 1
fi
for unit in kuma-cp.service kuma-dp@.service; do
	# 0 is best, 10 worst, here in tenths: more than 1.5 is an error.
	said=$("$analyze" security --offline=yes --threshold=15 --no-pager "deploy/systemd/$unit") || { echo "$said"; exit 1; }
	echo "$said" | tail -n 1
done
