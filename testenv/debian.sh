#!/bin/sh
# debian.sh FOLDER PACKAGE...
#
# Fetches packages of this machine's Debian release, with all they depend on, libc included, and unpacks them into FOLDER. It
# needs no root and changes nothing on the machine; what the maintainers' scripts would do is not done. Mirrors keep the newest
# version of a package only, so the release is the pin.
set -eu
folder=$1
shift

state=$(mktemp -d)
trap 'rm -rf "$state"' EXIT
mkdir -p "$state/lists/partial" "$state/archives/partial"
: > "$state/status" # nothing is installed: so all that is needed is fetched

apt() {
	apt-get -qq -o Dir::State="$state" -o Dir::State::status="$state/status" -o Dir::Cache="$state" \
		-o Debug::NoLocking=1 -o APT::Sandbox::User= -o APT::Install-Recommends=false "$@"
}
apt update
apt --download-only --yes install "$@"

rm -rf "$folder.new"
mkdir -p "$folder.new"
for deb in "$state"/archives/*.deb; do
	dpkg-deb -x "$deb" "$folder.new"
done
rm -rf "$folder"
mv "$folder.new" "$folder" # whole, or not at all
