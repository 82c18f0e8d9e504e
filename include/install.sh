#!/bin/sh
# Builds libpodway and installs it: header, shared and static library, pkg-config and CMake files.
#
#   include/install.sh [--prefix /usr/local] [--libdir LIB] [--destdir DIR] [--profile release] [--uninstall]
#
# LIB is below the prefix unless it is absolute. DESTDIR, CARGO_TARGET_DIR and CARGO_BUILD_TARGET count too.
set -eu

prefix=/usr/local libdir=lib destdir=${DESTDIR:-} profile=release uninstall=no
while [ $# -gt 0 ]; do
    case $1 in
        --prefix=* | --libdir=* | --destdir=* | --profile=*) name=${1%%=*} value=${1#*=} ;;
        --prefix | --libdir | --destdir | --profile)
            name=$1 value=${2:?"$1 needs a value"}
            shift
            ;;
        --uninstall) name=$1 ;;
        -h | --help)
            sed -n 's/^# \{0,1\}//p' "$0" | sed -n 2,6p
            exit 0
            ;;
        *)
            echo "install.sh: unknown option $1; see --help" >&2
            exit 2
            ;;
    esac
    case $name in
        --prefix) prefix=$value ;;
        --libdir) libdir=$value ;;
        --destdir) destdir=$value ;;
        --profile) profile=$value ;;
        --uninstall) uninstall=yes ;;
    esac
    shift
done
case $prefix in /*) ;; *) echo "install.sh: the prefix must be absolute" >&2 && exit 2 ;; esac
case $libdir in /*) ;; *) libdir=$prefix/$libdir ;; esac

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
version=$(sed -n 's/^#define PODWAY_VERSION "\(.*\)"/\1/p' "$here/podway.h")
abi=$(sed -n 's/^#define PODWAY_ABI_VERSION \([0-9]*\)/\1/p' "$here/podway.h")
case ${CARGO_BUILD_TARGET:-$(uname -s)} in
    *apple* | Darwin)
        built=libpodway.dylib shared=libpodway.$abi.dylib link=libpodway.dylib
        naming="-Wl,-install_name,$libdir/$shared"
        private='-framework CoreFoundation -lSystem -lc -lm'
        ;;
    *windows* | MINGW* | MSYS*)
        echo "install.sh: on Windows use what cargo builds: podway.dll, podway.lib and include/podway.h" >&2
        exit 2
        ;;
    *)
        built=libpodway.so shared=libpodway.so.$abi link=libpodway.so
        naming="-Wl,-soname,$shared"
        private='-lgcc_s -lutil -lrt -lpthread -lm -ldl -lc'
        ;;
esac
cmake=$libdir/cmake/podway
if [ $uninstall = yes ]; then
    rm -f "$destdir$prefix/include/podway.h" "$destdir$libdir/$shared.$version" "$destdir$libdir/$shared" \
        "$destdir$libdir/$link" "$destdir$libdir/libpodway.a" "$destdir$libdir/pkgconfig/podway.pc" \
        "$destdir$cmake/podwayConfig.cmake" "$destdir$cmake/podwayConfigVersion.cmake"
    rmdir "$destdir$cmake" 2>/dev/null || true
    exit 0
fi

target=${CARGO_TARGET_DIR:-$root/target}
case $profile in dev) folder=debug ;; *) folder=$profile ;; esac
cd "$root"
cargo rustc --quiet -p podway --lib --profile "$profile" --features capi --target-dir "$target" \
    --crate-type cdylib,staticlib -- -C "link-arg=$naming"
from=$target/${CARGO_BUILD_TARGET:+$CARGO_BUILD_TARGET/}$folder

fill() {
    sed -e "s|@prefix@|$prefix|g" -e "s|@libdir@|$libdir|g" -e "s|@version@|$version|g" \
        -e "s|@private@|$private|g" -e "s|@shared@|$shared|g" "$1" > "$2"
}
mkdir -p "$destdir$prefix/include" "$destdir$libdir/pkgconfig" "$destdir$cmake"
cp "$here/podway.h" "$destdir$prefix/include/podway.h"
cp "$from/libpodway.a" "$destdir$libdir/libpodway.a"
cp "$from/$built" "$destdir$libdir/$shared.$version"
ln -sf "$shared.$version" "$destdir$libdir/$shared"
ln -sf "$shared" "$destdir$libdir/$link"
fill "$here/podway.pc.in" "$destdir$libdir/pkgconfig/podway.pc"
fill "$here/podwayConfig.cmake.in" "$destdir$cmake/podwayConfig.cmake"
fill "$here/podwayConfigVersion.cmake.in" "$destdir$cmake/podwayConfigVersion.cmake"
echo "podway $version: $destdir$prefix/include/podway.h, $destdir$libdir/$shared.$version, libpodway.a"
