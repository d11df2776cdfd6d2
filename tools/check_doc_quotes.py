#!/usr/bin/env python3
"""Checks that what the documentation quotes is still there:

- a code block that names a file on its first line (```cpp src/routing/router.h) is made of lines of that file, in their
  order and without gaps; a line `// …` stands for any number of lines left out;
- a path in backquotes that begins with a directory of the project (`src/routing/router.h`, `tests/golden/*.json`) exists.

    python3 tools/check_doc_quotes.py [FILE.md…]        # without files: README.md, docs/*.md, tools/README.md
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
GAP = "// …"
FENCE = re.compile(r"^```(\w*)\s*(\S*)\s*$")
PATH = re.compile(r"`((?:src|kernels|tests|tools|scripts|configs|docs)/[\w./*{},-]*)`")


def blocks(text):
    """(line number, file or "", lines) of every fenced block."""
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        fence = FENCE.match(lines[at])
        if not fence:
            at += 1
            continue
        end = next(i for i in range(at + 1, len(lines) + 1) if i == len(lines) or lines[i].startswith("```"))
        yield at + 1, fence.group(2), lines[at + 1:end]
        at = end + 1


def pieces(lines):
    """The runs of lines between the gaps."""
    run = []
    for line in lines + [GAP]:
        if line.strip() != GAP:
            run.append(line.rstrip())
        elif run:
            yield run
            run = []


def find(run, source, start):
    """Where `run` stands in `source` from `start` on, or None."""
    return next((i for i in range(start, len(source) - len(run) + 1) if source[i:i + len(run)] == run), None)


def check_block(where, name, lines):
    path = ROOT / name
    if not path.is_file():
        return [f"{where}: quotes {name}, which is not there"]
    source = [line.rstrip() for line in path.read_text().split("\n")]
    position = 0
    for run in pieces(lines):
        found = find(run, source, position)
        if found is None:
            return [f"{where}: {name} has no such lines (any more) behind line {position}: {run[0].strip()!r} …"]
        position = found + len(run)
    return []


def expansions(name):
    """`a/{b,c}.h` as a/b.h and a/c.h."""
    braces = re.search(r"\{([^{}]*)\}", name)
    if not braces:
        return [name]
    return [e for part in braces.group(1).split(",") for e in expansions(name.replace(braces.group(0), part, 1))]


def check_file(path):
    text = path.read_text()
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    problems = []
    for line, name, lines in blocks(text):
        if name:
            problems += check_block(f"{shown}:{line}", name, lines)
    for number, line in enumerate(text.split("\n"), 1):
        for match in PATH.finditer(line):
            for name in expansions(match.group(1)):
                exists = list(ROOT.glob(name)) or list(ROOT.glob(name + ".*"))
                if not exists:
                    problems.append(f"{shown}:{number}: names {name}, which is not there")
    return problems


def main():
    files = [pathlib.Path(name).resolve() for name in sys.argv[1:]]
    files = files or [ROOT / "README.md", ROOT / "tools/README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
    problems = [problem for path in files for problem in check_file(path)]
    for problem in problems:
        print(problem)
    print(f"{len(files)} documents, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
