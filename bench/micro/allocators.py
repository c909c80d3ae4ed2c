#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The allocators that the pools are compared with: where their libraries are.

    python3 bench/micro/allocators.py     prints a pattern of the Debian package's name for each that is missing
"""

import sys
from collections import namedtuple
from pathlib import Path

import machine

# `pattern`: of files in the folders of libraries, debug builds excluded; `package`: regular expression, as the number
# in the name of the package differs by suite.
Allocator = namedtuple("Allocator", "name pattern package")
ALLOCATORS = (
    Allocator("glibc", None, None),
    Allocator("jemalloc", "libjemalloc.so.2", "^libjemalloc2$"),
    Allocator("mimalloc", "libmimalloc.so.[0-9]*", "^libmimalloc[0-9.]+$"),
    Allocator("tcmalloc", "libtcmalloc_minimal.so.4", "^libtcmalloc-minimal4(t64)?$"),
)
NAMES = tuple(a.name for a in ALLOCATORS)
FOLDERS = ("/usr/lib/*-linux-gnu", "/lib/*-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib")


def library(allocator, folders=FOLDERS):
    """The library to preload, or None if it is not there. glibc needs none: ''."""
    if allocator.pattern is None:
        return ""
    for folder in folders:
        for place in sorted(Path("/").glob(folder.lstrip("/"))):
            found = sorted(place.glob(allocator.pattern))
            if found:
                return str(found[0])
    return None


def version(allocator):
    """What the package system says of it."""
    if allocator.pattern is None:
        return (machine.output_of("getconf", "GNU_LIBC_VERSION") or "unknown").removeprefix("glibc ")
    path = library(allocator)
    owner = machine.output_of("dpkg", "-S", Path(path).resolve()) if path else None
    return machine.output_of("dpkg-query", "-W", "-f", "${Version}", owner.split(": ")[0]) if owner else "unknown"


if __name__ == "__main__":
    print("\n".join(a.package for a in ALLOCATORS if library(a) is None))
    sys.exit(0)
