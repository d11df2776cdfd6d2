#!/usr/bin/env python3
"""Encodes a text with Artel and with the library `tokenizers`, in turn on the same threads, and compares ids and speed.

    pip install tokenizers
    build/release/artel tokenizer train data/corpus/train.bin --separator '\\0' --pattern llama3 --vocab-size 128000 -o t.json
    python3 tools/bench_tokenizer.py --artel build/release/artel --tokenizer t.json --threads 1 data/corpus/train.bin

The documents of the file are separated by a zero byte. Time is that of encoding alone, without reading the tokenizer;
where other programs run, `cpu` (processor seconds over all threads) says more than `wall`.
"""

import argparse
import os
import re
import resource
import subprocess
import sys
import time


def reference(path, documents, threads):
    """(ids, wall seconds, processor seconds) by the library, in a process of its own for the number of threads."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.environ.update(RAYON_NUM_THREADS=str(threads), TOKENIZERS_PARALLELISM="true" if threads > 1 else "false")
        from tokenizers import Tokenizer
        tokenizer = Tokenizer.from_file(path)
        before, start = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
        num_ids = sum(len(e.ids) for e in tokenizer.encode_batch_fast(documents, add_special_tokens=False))
        wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        os.write(write_end, f"{num_ids} {wall} {cpu}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    num_ids, wall, cpu = os.read(read_end, 1000).decode().split()
    return int(num_ids), float(wall), float(cpu)


def artel(executable, path, file, threads):
    """The same by Artel, whose start is measured on a short text and subtracted from the processor seconds."""
    with open(f"{file}.short", "w", encoding="utf-8") as short:
        short.write("text")
    start = encode_once(executable, path, f"{file}.short", threads)
    os.remove(f"{file}.short")
    num_ids, wall, cpu = encode_once(executable, path, file, threads)
    return num_ids, wall, cpu - start[2]


def encode_once(executable, path, file, threads):
    command = [executable, "tokenizer", "encode", "--tokenizer", path, "--separator", r"\0", "--threads", str(threads),
               "--count", file]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    outcome = subprocess.run(command, check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall = float(re.search(r"in ([0-9.]+) s", outcome.stderr).group(1))
    return int(outcome.stdout), wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file")
    parser.add_argument("--artel", default="build/release/artel")
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--megabytes", type=int, default=20, help="how much of the file")
    arguments = parser.parse_args()
    with open(arguments.file, "rb") as file:
        data = file.read(arguments.megabytes * 10**6)
    data = data[:data.rfind(b"\0") + 1] or data
    documents = [document.decode(errors="replace") for document in data.split(b"\0") if document]
    text = f"{arguments.tokenizer}.bench.txt"
    with open(text, "wb") as file:
        file.write(b"\0".join(document.encode() for document in documents))
    runs = {"artel": [], "tokenizers": []}
    for _ in range(arguments.rounds):
        runs["artel"].append(artel(arguments.artel, arguments.tokenizer, text, arguments.threads))
        runs["tokenizers"].append(reference(arguments.tokenizer, documents, arguments.threads))
    os.remove(text)
    size = sum(len(document.encode()) for document in documents) / 1e6
    for name, results in runs.items():
        wall, cpu = min(r[1] for r in results), min(r[2] for r in results)
        print(f"{name:10}  {results[0][0]} ids  {size / wall:7.1f} MB/s wall  {size / cpu:7.1f} MB/s cpu")
    ratio = min(r[1] for r in runs["tokenizers"]) / min(r[1] for r in runs["artel"])
    cpu_ratio = min(r[2] for r in runs["tokenizers"]) / min(r[2] for r in runs["artel"])
    print(f"{size:.1f} MB, {arguments.threads} threads: {ratio:.1f} times as fast by wall time, {cpu_ratio:.1f} by "
          f"processor time")
    return 0 if runs["artel"][0][0] == runs["tokenizers"][0][0] else 1


if __name__ == "__main__":
    sys.exit(main())
