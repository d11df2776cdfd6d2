#!/usr/bin/env python3
"""Checks the objects of the row kernels, which are compiled once per instruction set: whatever the linker may merge with
its like in other objects must lie in the namespace of the instruction set. Otherwise the one copy that it keeps could be
the one compiled for a processor that is not this one.

    check_row_symbols.py NM ISA OBJECT...

Prints one line per violation and exits with 1 if there is one.
"""

import subprocess
import sys


def shared_symbols(nm, path):
    """Mangled names of the symbols that `path` defines and that the linker may merge: weak, or unique."""
    listing = subprocess.run([nm, "--defined-only", "--format=posix", path], check=True, capture_output=True, text=True)
    for line in listing.stdout.splitlines():
        name, kind = line.split()[:2]
        if kind in "WVu":
            yield name


def main():
    nm, isa, *paths = sys.argv[1:]
    if not paths:
        sys.exit("required objects to look at, found none")
    namespace = f"5artel3cpu{len(isa)}{isa}"  # as mangled
    violations = [f"{path}: required symbols of artel::cpu::{isa} alone, found {name}"
                  for path in paths for name in shared_symbols(nm, path) if namespace not in name]
    print("\n".join(violations) if violations else f"{len(paths)} objects share nothing")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
