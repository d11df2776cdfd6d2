#!/usr/bin/env python3
"""Checks what every CUDA kernel takes of a GPU against kernels/cuda/budgets.json.

    tools/check_kernel_budgets.py BUILD            a build directory configured with -DARTEL_CUDA=ON and built
    tools/check_kernel_budgets.py BUILD --update   rewrites the budgets of this nvcc by what it found

The build keeps beside every object of kernels/cuda/*.cu what ptxas said of its kernels (tools/keep_ptxas_output.sh).
For each architecture of the budgets and each kernel: registers and shared memory are no more than in the budget, and
nothing is spilled. ptxas gives the same source 240 registers in one run and 242 in the next, so up to REGISTER_JITTER
more are let pass. Fails as well on a kernel without a budget, on a budget without a kernel, and on a file whose
output is missing. Budgets hold for one version of nvcc; under another only spills are looked at, and it is said so.
Prints one line per violation and exits with 1 if there is one.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

BUDGETS = "kernels/cuda/budgets.json"
REGISTER_JITTER = 4
ENTRY = re.compile(r"Compiling entry function '(\S+)' for '(sm_\d+)[a-z]?'")
PROPERTIES = re.compile(r"Function properties for (\S+)")
SPILLS = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers")
SHARED = re.compile(r"(\d+) bytes smem")


def read_output(text):
    """{(architecture, mangled name): {registers, shared_bytes, stack_bytes, spill_bytes}} of ptxas -v."""
    found = {}
    current = None
    described = None
    for line in text.splitlines():
        if match := ENTRY.search(line):
            current = found.setdefault((match[2], match[1]), {})
            described = match[1]
            entry = match[1]
        elif match := PROPERTIES.search(line):
            described = match[1]
        elif current is not None and described == entry and (match := SPILLS.search(line)):
            current["stack_bytes"] = int(match[1])
            current["spill_bytes"] = int(match[2]) + int(match[3])
        elif current is not None and (match := USED.search(line)):
            current["registers"] = int(match[1])
            shared = SHARED.search(line)
            current["shared_bytes"] = int(shared[1]) if shared else 0
            described = None
    return found


def demangle(names):
    """Names as people write them, without parameters and without the namespaces that all kernels share."""
    answer = subprocess.run(["c++filt", "--no-params"], input="\n".join(names), capture_output=True, text=True,
                            check=True).stdout.splitlines()
    short = (name.removeprefix("void ").replace("(anonymous namespace)::", "").replace("artel::", "")
             for name in answer)
    return dict(zip(names, short))


def measure(root, build):
    """({architecture: {"file: kernel": numbers}}, errors) of a build."""
    kernels = {}
    errors = []
    for source in sorted((root / "kernels/cuda").glob("*.cu")):
        outputs = list(build.glob(f"**/kernels/CMakeFiles/artel_cuda.dir/cuda/{source.name}.o.ptxas"))
        if not outputs:
            errors.append(f"{source.name}: required the output of ptxas in {build}, found none; "
                          "build it with -DARTEL_CUDA=ON first")
            continue
        if outputs[0].stat().st_mtime < source.stat().st_mtime:
            errors.append(f"{source.name}: is newer than the output of ptxas in {build}; build it again")
            continue
        found = read_output(outputs[0].read_text())
        names = demangle(sorted({name for _, name in found}))
        for (architecture, name), numbers in found.items():
            if "registers" not in numbers or "spill_bytes" not in numbers:
                errors.append(f"{source.name}: ptxas says nothing of {names[name]} for {architecture}")
                continue
            kernels.setdefault(architecture, {})[f"{source.name}: {names[name]}"] = numbers
    return kernels, errors


def spills(kernels):
    return [f"{architecture} {name}: spills {numbers['spill_bytes']} bytes of registers"
            for architecture, all_numbers in kernels.items() for name, numbers in all_numbers.items()
            if numbers["spill_bytes"] > 0]


def exceeded(kernels, budgets):
    """What is above its budget, unknown or gone."""
    errors = []
    for architecture, allowed in budgets.items():
        found = kernels.get(architecture, {})
        if not found:
            errors.append(f"{architecture}: required kernels for it, found none in the build")
            continue
        for name in sorted(set(allowed) | set(found)):
            if name not in found:
                errors.append(f"{architecture} {name}: has a budget, but the build has no such kernel")
            elif name not in allowed:
                errors.append(f"{architecture} {name}: has no budget")
            else:
                errors += [f"{architecture} {name}: {key.replace('_', ' ')} {found[name][key]}, budget {most}"
                           for key, most in allowed[name].items()
                           if found[name][key] > most + (REGISTER_JITTER if key == "registers" else 0)]
    return errors


def nvcc_version(build):
    for path in build.glob("CMakeFiles/*/CMakeCUDACompiler.cmake"):
        if match := re.search(r'CMAKE_CUDA_COMPILER_VERSION "(\d+\.\d+)', path.read_text()):
            return match[1]
    sys.exit(f"check_kernel_budgets: required a build configured with -DARTEL_CUDA=ON, found none in {build}")


def write(path, budgets):
    """One kernel a line, so that a change reads well in a diff."""
    lines = ["{"]
    for version in sorted(budgets):
        lines.append(f" {json.dumps('nvcc ' + version)}: {{")
        for architecture in sorted(budgets[version], key=lambda name: int(name[3:])):
            lines.append(f"  {json.dumps(architecture)}: {{")
            lines += [f"   {json.dumps(name)}: {json.dumps(numbers)},"
                      for name, numbers in sorted(budgets[version][architecture].items())]
            lines[-1] = lines[-1].removesuffix(",")
            lines.append("  },")
        lines[-1] = "  }"
        lines.append(" },")
    lines[-1] = " }"
    path.write_text("\n".join(lines + ["}", ""]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path)
    parser.add_argument("--update", action="store_true")
    arguments = parser.parse_args()
    root = Path(__file__).resolve().parent.parent
    version = nvcc_version(arguments.build)
    kernels, errors = measure(root, arguments.build)
    errors += spills(kernels)
    path = root / BUDGETS
    budgets = {}
    if path.exists():
        budgets = {name.removeprefix("nvcc "): value for name, value in json.loads(path.read_text()).items()}
    count = sum(len(all_numbers) for all_numbers in kernels.values())
    if arguments.update and not errors:
        keys = ("registers", "shared_bytes", "stack_bytes")
        budgets[version] = {architecture: {name: {key: numbers[key] for key in keys}
                                           for name, numbers in all_numbers.items()}
                            for architecture, all_numbers in kernels.items()}
        write(path, budgets)
    elif version in budgets:
        errors += exceeded(kernels, budgets[version])
    else:
        print(f"{BUDGETS} has nothing for nvcc {version}: only spills were looked at (--update adds what was found)")
    for error in errors:
        print(error)
    print(f"{count} kernels and architectures, nvcc {version}: {len(errors)} violations")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
