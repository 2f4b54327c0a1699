#!/usr/bin/env bash
# Real camera drivers without a camera: Debian's kernel in QEMU, vivid as a camera, v4l2loopback as a virtual camera, and
# this machine's files, read-only, around them. Usage: tests/v4l2/run.sh PYTHON [pytest arguments]
# Needs root or sudo for apt-get only where packages are missing; asks nothing. Ends with 77 where they cannot be had.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
python=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
shift
work=$PWD/build/v4l2
mkdir -p "$work"

[ "$(uname -m)" = x86_64 ] || { echo "test-v4l2: not run: needs an x86-64 machine" >&2; exit 77; }
fail() { echo "test-v4l2: $*" >&2; exit 1; }
absent() { echo "test-v4l2: not run: $*" >&2; exit 77; }
as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi; }

# Kernel, its headers, the loopback driver's source: packages that are unpacked, not installed.
fetch() {
  command -v apt-get >/dev/null || absent "needs Debian's packages"
  local image headers
  image=$(apt-cache depends linux-image-amd64 2>/dev/null | awk '/Depends: linux-image/ {print $2; exit}')
  [ -n "$image" ] || { as_root apt-get update -qq; image=$(apt-cache depends linux-image-amd64 | awk '/Depends: linux-image/ {print $2; exit}'); }
  [ -n "$image" ] || absent "no Debian kernel is offered here"
  headers=${image/image/headers}
  (cd "$work" && apt-get download -qq "$image" "$headers" "${headers%-amd64}-common" v4l2loopback-dkms busybox-static \
    "$(apt-cache depends "$headers" | awk '/Depends: linux-kbuild/ {print $2}')" 2>/dev/null) || absent "the packages cannot be downloaded"
  rm -rf "$work/root.part"
  for package in "$work"/*.deb; do dpkg-deb -x "$package" "$work/root.part"; done
  rm "$work"/*.deb
  mv "$work/root.part" "$work/root"
}

# The loopback driver, against those headers. Their makefiles name /usr/src and /usr/lib, where they are not.
build() {
  local headers source
  headers=$(echo "$work"/root/usr/src/linux-headers-*-amd64)
  find "$work/root/usr/src" -maxdepth 2 -name Makefile -exec sed -i -e "s#^include /usr/src#include $work/root/usr/src#" \
    -e "s#/usr/lib/linux-kbuild#$work/root/usr/lib/linux-kbuild#" {} +
  for link in scripts tools; do
    [ -L "$headers/$link" ] && ln -sfn "$(echo "$work"/root/usr/lib/linux-kbuild-*)/$link" "$headers/$link"
  done
  source=$(echo "$work"/root/usr/src/v4l2loopback-*)
  make --silent -C "$headers" M="$source" modules >"$work/build.log" 2>&1 || { cat "$work/build.log" >&2; fail "v4l2loopback does not build"; }
  cp "$source/v4l2loopback.ko" "$work/"
}

# busybox, the modules in the order in which they are loaded, and init.
pack() {
  local tree=$work/tree modules name
  modules=$(echo "$work"/root/lib/modules/*)
  rm -rf "$tree"
  mkdir -p "$tree"/{bin,modules,proc,sys,dev,host}
  cp "$work/root/bin/busybox" "$tree/bin/busybox"
  depmod -b "$work/root" "$(basename "$modules")"
  for name in virtio_pci 9p 9pnet_virtio overlay vivid v4l2loopback; do
    if [ "$name" = v4l2loopback ]; then echo "$work/v4l2loopback.ko"; else
      modprobe -d "$work/root" -S "$(basename "$modules")" --show-depends "$name" | awk '/^insmod/ {print $2}'
    fi
  done | awk '!seen[$0]++' >"$work/order"
  while read -r module; do
    cp "$module" "$tree/modules/"
    basename "$module"
  done <"$work/order" >"$tree/modules/order"
  cp tests/v4l2/init "$tree/init"
  chmod +x "$tree/init"
  (cd "$tree" && find . | cpio --quiet -o -H newc | gzip -1) >"$work/initramfs"
}

for tool in qemu-system-x86_64 cpio depmod gcc make; do command -v "$tool" >/dev/null || missing=1; done
if [ -n "${missing:-}" ]; then
  { as_root apt-get update -qq && as_root apt-get install -y -qq --no-install-recommends qemu-system-x86 cpio kmod gcc make; } >/dev/null \
    || absent "needs qemu-system-x86, cpio, kmod, gcc and make"
fi
[ -d "$work/root" ] || fetch
[ -f "$work/v4l2loopback.ko" ] || build
pack

out=$work/out
rm -rf "$out"
mkdir -p "$out"
printf '%s\n' "$PWD" "$python" "${*:+$(printf '%q ' "$@")}" >"$out/call"
# "max" has AVX2, which the packages of the environment may want; without KVM it is emulated, at a fiftieth of the speed.
timeout 900 qemu-system-x86_64 -machine q35 -cpu max -smp 2 -m 3072 -nographic -no-reboot -nodefaults -serial stdio \
  -kernel "$(echo "$work"/root/boot/vmlinuz-*)" -initrd "$work/initramfs" -append "console=ttyS0 panic=-1 loglevel=3" \
  -virtfs local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap \
  -virtfs local,path="$out",mount_tag=out,security_model=none </dev/null || fail "the machine did not end by itself"
[ -f "$out/code" ] || fail "the machine ended without a result"
exit "$(cat "$out/code")"
