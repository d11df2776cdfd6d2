#!/usr/bin/env python3
"""Writes token files with NumPy and Python's own libraries, and compares what `artel data inspect --json` finds in them
with what was written, in every format and type; then reads what `artel data tokenize` writes.

    tools/check_formats.py ARTEL [--seed N]

With Megatron-core installed its own reader and writer of IndexedDataset take part, and its reader reads Artel's file
too. Prints one line per difference and
exits with 1 if there is one; exits with 77 where NumPy is missing.
"""

import argparse
import csv
import gzip
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import numpy as np
except ImportError:
    print("check_formats: required NumPy, found none", file=sys.stderr)
    sys.exit(77)

MEGATRON_CODES = {"uint8": 1, "int8": 2, "int16": 3, "int32": 4, "int64": 5, "uint16": 8}
LLMC = {"uint16": (20240520, 1), "uint32": (20240801, 7)}


def write_megatron(path, documents, dtype):
    np.concatenate(documents).astype(dtype).tofile(f"{path}.bin")
    lengths = np.array([len(document) for document in documents], dtype="<i4")
    pointers = np.concatenate(([0], np.cumsum(lengths[:-1], dtype="<i8"))) * np.dtype(dtype).itemsize
    with open(f"{path}.idx", "wb") as file:
        file.write(b"MMIDIDX\x00\x00")
        file.write(np.array([1], dtype="<u8").tobytes())
        file.write(bytes([MEGATRON_CODES[dtype]]))
        file.write(np.array([len(documents), len(documents) + 1], dtype="<u8").tobytes())
        file.write(lengths.tobytes() + pointers.astype("<i8").tobytes())
        file.write(np.arange(len(documents) + 1, dtype="<i8").tobytes())
    return f"{path}.bin"


def write_llmc(path, documents, dtype):
    ids = np.concatenate(documents)
    header = np.zeros(256, dtype="<i4")
    header[:3] = *LLMC[dtype], len(ids)
    Path(f"{path}.bin").write_bytes(header.tobytes() + ids.astype(dtype).tobytes())
    return f"{path}.bin"


def write_npy(path, documents, dtype, table=False):
    np.save(f"{path}.npy", np.concatenate(documents).astype(dtype))
    return with_table(path, documents, table)


def write_memmap(path, documents, dtype, table=False):
    """As OLMo and dolma write: no header."""
    ids = np.concatenate(documents)
    mapped = np.memmap(f"{path}.npy", mode="w+", dtype=dtype, shape=(len(ids),))
    mapped[:] = ids
    mapped.flush()
    return with_table(path, documents, table)


def with_table(path, documents, table):
    if table:
        ends = np.cumsum([len(document) for document in documents])
        text = io.StringIO()
        writer = csv.writer(text)
        for begin, end in zip([0, *ends[:-1]], ends):
            writer.writerow([begin, end, "name, with a comma", "source"])
        with gzip.open(f"{path}.csv.gz", "wt") as file:
            file.write(text.getvalue())
    return f"{path}.npy"


def write_raw(path, documents, dtype):
    np.concatenate(documents).astype(dtype).tofile(path)
    return str(path)


def cases(folder, documents):
    """(name, path, arguments, expected members)."""
    def small(dtype):
        return [document % np.iinfo(dtype).max for document in documents]

    for dtype in MEGATRON_CODES:
        path = write_megatron(folder / f"megatron-{dtype}", small(dtype), dtype)
        yield f"Megatron {dtype}", path, [], ("Megatron", dtype, small(dtype), True)
    for dtype in LLMC:
        path = write_llmc(folder / f"llmc-{dtype}", documents, dtype)
        yield f"llm.c {dtype}", path, [], ("llm.c", dtype, documents, False)
    for dtype in ("uint8", "uint16", "uint32", "int32", "int64"):
        for table in (False, True):
            path = write_npy(folder / f"npy-{dtype}-{table}", small(dtype), dtype, table)
            yield f"npy {dtype} table {table}", path, [], ("npy", dtype, small(dtype), table)
    for dtype in ("uint16", "uint32"):
        path = write_memmap(folder / f"olmo-{dtype}", documents, dtype, True)
        yield f"memmap {dtype}", path, ["--dtype", dtype], ("raw npy", dtype, documents, True)
    for dtype in ("uint8", "uint16", "uint32"):
        path = write_raw(folder / f"raw-{dtype}", small(dtype), dtype)
        yield f"raw {dtype}", path, ["--dtype", dtype], ("raw", dtype, small(dtype), False)


def inspect(artel, path, arguments):
    done = subprocess.run([artel, "data", "inspect", path, "--json", "--samples", "5", "--sample-tokens", "1000000",
                           *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        return None, done.stderr.strip()
    return json.loads(done.stdout)["files"][0], ""


def differences(found, expected):
    file_format, dtype, documents, bounded = expected
    ids = np.concatenate(documents).astype(np.int64)
    wanted = {"format": file_format, "dtype": dtype, "tokens": len(ids), "smallest_id": int(ids.min()),
              "largest_id": int(ids.max())}
    for key, value in wanted.items():
        if found[key] != value:
            yield f"{key} {found[key]}, expected {value}"
    if bounded:
        lengths = np.array([len(document) for document in documents])
        wanted = {"count": len(lengths), "shortest": int(lengths.min()), "longest": int(lengths.max()),
                  "median": int(np.percentile(lengths, 50, method="inverted_cdf")),
                  "p90": int(np.percentile(lengths, 90, method="inverted_cdf")),
                  "p99": int(np.percentile(lengths, 99, method="inverted_cdf"))}
        for key, value in wanted.items():
            if found["documents"][key] != value:
                yield f"documents {key} {found['documents'][key]}, expected {value}"
    elif found["documents"] is not None:
        yield "documents where none were marked"
    for sample in found["samples"]:
        begin = sample["position"]
        if sample["ids"] != ids[begin:begin + len(sample["ids"])].tolist():
            yield f"ids from position {begin} on"


def check_out_of_range(artel, folder):
    path = write_raw(folder / "range", [np.array([1, 900, 3, 1000])], "uint16")
    found, error = inspect(artel, path, ["--dtype", "uint16", "--vocab-size", "900"])
    wanted = {"count": 2, "first": [{"position": 1, "id": 900}, {"position": 3, "id": 1000}]}
    return [error] if found is None else [] if found["out_of_range"] == wanted else [f"out of range {found}"]


def read_megatron(path):
    """Type of the ids, and the documents."""
    index = Path(f"{path}.idx").read_bytes()
    if index[:9] != b"MMIDIDX\x00\x00" or index[9:17] != bytes([1, *[0] * 7]):
        raise ValueError(f"no index of version 1: {index[:17]}")
    dtype = {code: name for name, code in MEGATRON_CODES.items()}[index[17]]
    sequences, bounds = np.frombuffer(index, "<u8", 2, 18).astype(int)
    lengths = np.frombuffer(index, "<i4", sequences, 34)
    pointers = np.frombuffer(index, "<i8", sequences, 34 + 4 * sequences)
    of_documents = np.frombuffer(index, "<i8", bounds, 34 + 12 * sequences)
    if len(index) != 34 + 12 * sequences + 8 * bounds or list(of_documents) != list(range(sequences + 1)):
        raise ValueError("an index of another length, or documents that are not one sequence each")
    file = Path(f"{path}.bin").read_bytes()
    return dtype, [np.frombuffer(file, dtype, length, at) for length, at in zip(lengths, pointers)]


def read_llmc(path):
    """Type of the ids, and all of them, in the order of the shards."""
    parts = []
    for shard in sorted(path.parent.glob(f"{path.name}_*.bin")):
        header = np.fromfile(shard, "<i4", 256)
        dtype = {magic: name for name, (magic, version) in LLMC.items() if version == header[1]}[header[0]]
        parts.append(np.fromfile(shard, dtype, offset=1024))
        if len(parts[-1]) != header[2]:
            raise ValueError(f"{shard} holds {len(parts[-1])} ids, {header[2]} by its header")
    return dtype, np.concatenate(parts)


def check_tokenized(artel, folder, random):
    """Files of `artel data tokenize`: bytes, and a small vocabulary of its own."""
    words = ["the", " artel", " met", "\n", " 12 ", "\u4e2d\u6587", " e\u0301t\u00e9", "\t", " don't", " \U0001f469"]
    texts = ["".join(random.choice(words, size)).encode() for size in random.integers(1, 300, size=80)]
    source = folder / "texts"
    source.write_bytes(b"\0".join(texts))
    vocabulary = folder / "tokenizer.json"
    commands = [["tokenizer", "train", source, "--separator", "\\0", "--vocab-size", "300", "-o", vocabulary]]
    for name, tokenizer in (("bytes", "bytes"), ("bpe", vocabulary)):
        for layout in ("megatron", "llmc", "raw"):
            commands.append(["data", "tokenize", "-t", tokenizer, "-o", folder / f"{name}-{layout}", "--separator", "\\0",
                             "--format", layout, source, *(["--shard-tokens", "5000"] if layout == "llmc" else [])])
    for command in commands:
        done = subprocess.run([artel, *map(str, command)], capture_output=True, text=True)
        if done.returncode != 0:
            yield f"artel {' '.join(map(str, command))}: {done.stderr.strip()}"
            return
    pieces = {}
    for name in ("bytes", "bpe"):
        dtype, documents = read_megatron(folder / f"{name}-megatron")
        ids = np.concatenate(documents)
        end = 0
        if dtype != "uint16" or [document[-1] for document in documents] != [end] * len(texts):
            yield f"{name}: type {dtype}, expected uint16, or documents that do not end with {end}"
        llmc_type, llmc_ids = read_llmc(folder / f"{name}-llmc")
        if llmc_type != "uint16" or not np.array_equal(llmc_ids, ids):
            yield f"{name}: llm.c's shards of {llmc_type} hold other ids than Megatron's file"
        raw = np.fromfile(folder / f"{name}-raw.bin", "uint8" if name == "bytes" else "uint16")
        if not np.array_equal(raw, ids):
            yield f"{name}: the raw file holds other ids than Megatron's"
        pieces[name] = documents
    if [bytes(document[:-1].astype(np.uint8)) for document in pieces["bytes"]] != texts:
        yield "bytes: other bytes than those of the texts"
    lines = "".join(" ".join(map(str, document[:-1])) + "\n" for document in pieces["bpe"])
    (folder / "ids").write_text(lines)
    done = subprocess.run([artel, "tokenizer", "decode", "-t", vocabulary, folder / "ids"], capture_output=True)
    if done.stdout.replace(b"\n", b"") != b"".join(texts).replace(b"\n", b""):
        yield f"bpe: other text than that of the files {done.stderr.decode().strip()}"
    if max(int(document.max()) for document in pieces["bpe"]) <= 256:
        yield "bpe: no token of several bytes"
    try:
        from megatron.core.datasets.indexed_dataset import IndexedDataset
    except ImportError:
        return
    for name, documents in pieces.items():
        read = IndexedDataset(str(folder / f"{name}-megatron"))
        if len(read) != len(documents) or not all(np.array_equal(read[i], one) for i, one in enumerate(documents)):
            yield f"{name}: Megatron-core reads other documents than Artel wrote"


def check_megatron_core(artel, folder, documents):
    """Megatron-core's own writer, where it is installed."""
    try:
        from megatron.core.datasets.indexed_dataset import IndexedDataset, IndexedDatasetBuilder
    except ImportError:
        print("check_formats: Megatron-core is not installed, its writer was left out")
        return
    builder = IndexedDatasetBuilder(str(folder / "core.bin"), dtype=np.int32)
    for document in documents:
        builder.add_document(document.astype(np.int32), [len(document)])
    builder.finalize(str(folder / "core.idx"))
    found, error = inspect(artel, str(folder / "core.bin"), [])
    yield from [error] if found is None else differences(found, ("Megatron", "int32", documents, True))
    write_megatron(folder / "ours", documents, "uint16")
    read = IndexedDataset(str(folder / "ours"))
    if not all(np.array_equal(read[i], document) for i, document in enumerate(documents)):
        yield "Megatron-core reads other documents than this script wrote"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artel", help="the program")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    random = np.random.default_rng(arguments.seed)
    documents = [random.integers(1, 60000, size=size) for size in random.integers(1, 400, size=150)]
    bad = checked = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found_lines = []
        for case, path, options, expected in cases(folder, documents):
            checked += 1
            found, error = inspect(arguments.artel, path, options)
            lines = [error] if found is None else differences(found, expected)
            found_lines += [f"{case}: {line}" for line in lines]
        found_lines += check_out_of_range(arguments.artel, folder)
        try:
            found_lines += check_tokenized(arguments.artel, folder, random)
        except (KeyError, ValueError) as error:  # a file that is not what it should be
            found_lines.append(f"file of artel data tokenize: {error}")
        found_lines += check_megatron_core(arguments.artel, folder, documents)
        for line in found_lines:
            print(f"check_formats: {line}")
            bad += 1
    print(f"check_formats: {checked} files of every format and type, {bad} differences")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
