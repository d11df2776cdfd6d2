#!/usr/bin/env python3
"""Checks what docs/architecture.md says about the source tree and no compiler notices:

- directories include one another one way only;
- every third-party header has one home;
- a type has one definition: two of one name in two headers are merged by the linker without a word;
- row kernels, compiled once per instruction set, include hardly anything;
- no file has 450 lines or more.

Prints one line per violation and exits with 1 if there is one.
"""

import argparse
import re
import sys
from pathlib import Path

# What each directory may include besides itself. Every name stands after all that it may include.
DEPENDENCIES = {
    "util": [],
    "core": ["util"],
    "comm": ["util", "core"],
    "kernels": ["util/error.h", "core"],
    "ops": ["util", "core", "comm", "kernels"],
    "nn": ["util", "core", "comm", "kernels", "ops"],
    "config": ["util"],
    "routing": ["util", "core", "comm", "kernels", "ops", "nn", "config"],
    "model": ["util", "core", "comm", "kernels", "ops", "nn", "config", "routing"],
    "tokenizer": ["util"],
    "data": ["util", "core", "config", "tokenizer"],
    "optim": ["util", "core", "comm", "kernels", "ops", "nn", "config"],
    "checkpoint": ["util", "core", "comm", "kernels", "ops", "nn", "config"],
    "report": ["util", "config"],
    "train": ["util", "core", "comm", "kernels", "ops", "nn", "config", "routing", "model", "tokenizer", "data",
              "optim", "checkpoint", "report"],
    "huggingface": ["util", "core", "comm", "kernels", "ops", "nn", "config", "routing", "model", "checkpoint"],
    "inspect": ["util", "core", "comm", "kernels", "ops", "nn", "config", "routing", "model", "tokenizer", "data",
                "checkpoint", "report", "train"],
    "cli": ["util", "core", "comm", "kernels", "ops", "nn", "config", "routing", "model", "tokenizer", "data",
            "optim", "checkpoint", "report", "train", "huggingface", "inspect"],
}

# Third-party headers by the start of their path, and the files (by the start of theirs) that may include them.
HOMES = {
    "nlohmann/": ["src/util/json.h"],
    "spdlog/": ["src/util/log."],
    "yaml-cpp/": ["src/config/"],
    "CLI/": ["src/cli/"],
    "pcre2.h": ["src/tokenizer/split_regex.cpp"],
    "unicode/": ["src/tokenizer/unicode.cpp"],
    "zlib.h": ["src/data/archives.cpp"],
    "zstd.h": ["src/data/archives.cpp"],
    "glob.h": ["src/util/files.cpp"],
    "dnnl": ["kernels/cpu/onednn"],
    "oneapi/": ["kernels/cpu/onednn"],
    "omp.h": ["kernels/cpu/onednn"],
    "mpi.h": ["src/comm/mpi_", "tests/emulator/nccl_"],
    "nccl.h": ["src/comm/nccl", "tests/emulator/"],
    "cuda": ["kernels/cuda/", "src/comm/nccl", "tests/emulator/", "tests/gpu/", "tests/support/device_access_cuda.cpp"],
    "cublas": ["kernels/cuda/", "tests/emulator/"],
    "sanitizer/": ["tests/emulator/"],
    "mma.h": ["kernels/cuda/", "tests/emulator/"],
    "device_launch_parameters.h": ["tests/emulator/include/"],
    "math.h": ["tests/emulator/include/"],
    "catch2/": ["tests/support/catch.h", "tests/support/catch_session.h", "tests/support/emulator_main.cpp"],
    "immintrin.h": ["kernels/cpu/rows/simd.h"],
}

STANDARD = set("""
algorithm any array atomic bit bitset cctype cerrno cfloat charconv chrono cinttypes climits cmath compare complex
concepts condition_variable csignal cstdarg cstddef cstdint cstdio cstdlib cstring ctime deque exception filesystem
fstream functional future initializer_list iomanip ios iosfwd iostream istream iterator limits list locale map memory
memory_resource mutex new numbers numeric optional ostream queue random ranges ratio regex semaphore set shared_mutex
span sstream stack stdexcept string string_view system_error thread tuple type_traits typeindex typeinfo unordered_map
unordered_set utility valarray variant vector version
""".split())
SYSTEM = re.compile(r"(sys/\w+|unistd|fcntl|signal|time|dirent|pthread|sched|poll|termios|execinfo|link|ucontext|"
                    r"nmmintrin|immintrin)\.h")

# A row kernel may include these, for their types (tools/check_row_symbols.py sees whether it used more of them).
ROWS = re.compile(r"cstdint|immintrin\.h|core/dtype\.h|kernels/(backend|adamw_factors)\.h|kernels/cpu/isa\.h|"
                  r"kernels/cpu/rows/\w+\.h")

MAX_LINES = 450
CODE = {".h", ".cpp", ".cu", ".cuh"}
TEXT = CODE | {".py", ".sh", ".cmake"}
# A type defined at the left margin of a header, where everything is in namespace artel.
TYPE = re.compile(r"(?:struct|class|enum class|union) (\w+)(?: final)?(?: *:[^;{]*)? \{")
INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^>"]+)[>"]')


def module_of(path):
    """The name in DEPENDENCIES of a file given relative to the root, or None for tests."""
    parts = path.parts
    if parts[0] == "src":
        return parts[1] if len(parts) > 2 else "src"
    return "kernels" if parts[0] == "kernels" else None


def check_own(module, header, root):
    """A complaint about a quoted include of a file of this module (None: a test), or None."""
    first = header.split("/")[0]
    if "/" not in header:
        return f'required a path from src/, the project root or tests/, found "{header}"'
    if first == "support" or (root / "tests" / header).is_file() and not (root / "src" / header).is_file():
        return None if module is None else f'required no header of tests outside tests, found "{header}"'
    if first not in DEPENDENCIES:
        return f'required a directory that tools/check_includes.py knows, found "{header}"'
    if module is None or first == module:
        return None
    if module not in DEPENDENCIES:
        return f"required a directory that tools/check_includes.py knows, found src/{module}"
    allowed = DEPENDENCIES[module]
    if first in allowed or header in allowed:
        return None
    return f'required {module} to include {" ".join([module] + allowed)} alone, found "{header}"'


def check_foreign(path, header):
    """A complaint about an include in angle brackets in the file `path`, or None."""
    for start, homes in HOMES.items():
        if header.startswith(start):
            if any(str(path).startswith(home) for home in homes):
                return None
            return f'required <{header}> in {" or ".join(homes)} alone'
    if header in STANDARD or SYSTEM.fullmatch(header):
        return None
    return f"required a header that tools/check_includes.py has a home for, found <{header}>"


def check_file(root, path):
    """Yields (line number, complaint) for the file at root / path."""
    lines = (root / path).read_text(encoding="utf-8").splitlines()
    if len(lines) >= MAX_LINES:
        yield len(lines), f"required less than {MAX_LINES} lines, found {len(lines)}"
    if path.suffix not in CODE:
        return
    in_rows = str(path).startswith("kernels/cpu/rows/")
    for number, line in enumerate(lines, 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        bracket, header = match.groups()
        complaint = check_foreign(path, header) if bracket == "<" else check_own(module_of(path), header, root)
        if complaint is None and in_rows and not ROWS.fullmatch(header):
            complaint = f"required a header that row kernels may include, found {header}"
        if complaint is not None:
            yield number, complaint


def check_types(root, headers):
    """Yields complaints about types that several of these headers define."""
    homes = {}
    for path in headers:
        for line in (root / path).read_text(encoding="utf-8").splitlines():
            if match := TYPE.match(line):
                homes.setdefault(match.group(1), []).append(str(path))
    for name, paths in homes.items():
        if len(paths) > 1:
            yield f"{paths[0]}: required one type {name}, found another in {', '.join(paths[1:])}; rename one"


def check_table():
    """Yields complaints about DEPENDENCIES itself: an entry that names a later one would allow a circle."""
    seen = []
    for module, allowed in DEPENDENCIES.items():
        for name in allowed:
            if name.split("/")[0] not in seen:
                yield f"tools/check_includes.py: required {module} to depend on earlier entries alone, found {name}"
        seen.append(module)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    root = parser.parse_args().root
    violations = list(check_table())
    num_files = 0
    headers = []
    for top in ("src", "kernels", "tests", "tools", "scripts"):
        for file in sorted((root / top).rglob("*")):
            if file.suffix not in TEXT or not file.is_file():
                continue
            num_files += 1
            path = file.relative_to(root)
            if file.suffix == ".h" and top in ("src", "kernels"):
                headers.append(path)
            violations += [f"{path}:{number}: {complaint}" for number, complaint in check_file(root, path)]
    violations += check_types(root, headers)
    if num_files == 0:
        violations.append(f"{root}: required source files, found none")
    print("\n".join(violations) if violations else f"{num_files} files keep the rules")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
