#!/usr/bin/env python3
"""Makes tests/golden/tokenizers with the reference libraries: small byte-level BPE tokenizers of the families that
public models use, and hashes of the ids that the libraries give to a corpus of awkward texts.

    pip install tokenizers tiktoken
    python3 tools/make_tokenizer_goldens.py                       # writes the goldens anew
    python3 tools/make_tokenizer_goldens.py --check artel         # ids by this executable, first differing line shown

The texts are not stored: tests/tokenizer/golden_test.cpp makes the same ones (see `lines`). Characters that Unicode 14,
the oldest that a supported distribution has, does not know are left out: libraries differ in what they are.
"""

import argparse
import base64
import json
import pathlib
import subprocess
import sys
import tempfile
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "tests/golden/tokenizers"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
SUFFIX = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
O200K = "|".join([
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{SUFFIX}", rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{SUFFIX}",
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])

NUM_RANDOM, NUM_INVALID = 1500, 500
MASK = (1 << 64) - 1

# Put together at random: words, white space of all kinds, contractions, code, emoji sequences, marks, added tokens.
ATOMS = [
    " the", "The", "don't", "I'LL", "we've", "'s", "'S", "'\u017f", "'re", "'Re", "'VE", "'m", "'D", "'ll", "'", "''",
    "\u2019s", "a", "b", "ABCdef", "camelCase", "CONSTANT", "\u0130stanbul", "stra\u00dfe", "\u01c5", "\u02b0",
    " ", "  ", "    ", "\t", "\n", "\r", "\r\n", "\n\n", " \n", "\n ", "\x0b", "\x0c", "\x1c", "\x1f", "\x85",
    "\xa0", "\u1680", "\u180e", "\u2000", "\u200a", "\u200b", "\u2028", "\u2029", "\u202f", "\u205f", "\u2060",
    "\u3000", "\ufeff", "0", "7", "12", "2024", "1234567", "3.14", "\u0663", "\u2163", "\u00bd", "\u2460", "\uff11",
    ".", "...", "!?", "(", ")", "{", "}", "=>", "//", "/* x */", "#include <a>", "def f(x):", "    return", "_", "__x",
    "$", "\u20ac", "\u2026", "\u201c", "\u00a9", "\u2192", "\u2211", "caf\u00e9", "cafe\u0301", "\u00e9", "e\u0301",
    "\u1e9b\u0323", "\ufb01", "\u212b", "\uac00", "\u1100\u1161\u11a8", "\u0915\u094d\u0937", "\u0e01\u0e33",
    "\u4e2d\u6587", "\u3042\u3044", "\u30ab\u30bf", "\u0627\u0644\u0644\u0647", "\u05e9\u05c1", "\u0431\u0443\u043a\u0432\u0430",
    "\U0001f600", "\U0001f44d\U0001f3fd", "\U0001f469\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea",
    "\u2764\ufe0f", "1\ufe0f\u20e3", "\U000e0067", "\U0001d400", "\U00020000", "\x00", "\x07", "\x7f", "\u0301",
    "\ufffd", "\ufdfa", "\u3392", "<|endoftext|>", "<|end", "<|sep|>", "wordy", "mask", "[M]", "\u00c5x",
]
# Put together at random with bytes that are no UTF-8. White space stands at the beginning only and no added token is
# made, so that the pieces can be had from the library without its search for added tokens.
INVALID_ATOMS = [
    b" the", b"abc", b"12", b"'s", b"(", b"\n", b" x", "\u00e9".encode(), "\u4e2d".encode(), "\U0001f600".encode(),
    b"\x80", b"\xbf", b"\xc0", b"\xc1", b"\xc3", b"\xe2\x82", b"\xe2", b"\xed\xa0\x80", b"\xf0\x9f\x98", b"\xf4\x90",
    b"\xf5", b"\xfe", b"\xff", "\ufffd".encode(), b" \xff", b"\xf0\x80\x80", b"\xc3\xc3\xa9",
]
RUNS = [(" ", 5000), ("\n", 4000), ("a", 6000), ("A", 3000), ("7", 4000), ("!", 4000), ("\u4e2d", 3000), (" \n", 2000),
        ("\u0301", 2000), ("\U0001f600", 1500), ("\t ", 1500), ("ab", 3000), ("\u3000", 1000), ("' ", 1000)]


def assigned_ranges():
    """[first, last] of the code points that Python's Unicode knows, without surrogates and private use."""
    ranges = []
    for code in range(0x110000):
        if unicodedata.category(chr(code)) in ("Cn", "Cs", "Co"):
            continue
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return ranges


def block_lines(ranges):
    """A line for every 256 code points, each in one of eight surroundings."""
    around = ["{}", " {}", "{}1", "a{}", "{0}{0}", "{} ", "'{}", "{}\n"]
    line, block = "", None
    for first, last in ranges:
        for code in range(first, last + 1):
            if code // 256 != block and line:
                yield line.encode()
                line = ""
            block = code // 256
            line += around[code % 8].format(chr(code))
    yield line.encode()


class Random:
    """splitmix64"""

    def __init__(self, seed):
        self.state = seed

    def below(self, limit):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        value = self.state
        value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
        return (value ^ (value >> 31)) % limit


def lines(ranges):
    yield from block_lines(ranges)
    for text, count in RUNS:
        yield text.encode() * count
    for seed, (atoms, count) in enumerate([([a.encode() for a in ATOMS], NUM_RANDOM), (INVALID_ATOMS, NUM_INVALID)]):
        random = Random(seed + 1)
        for _ in range(count):
            yield b"".join(atoms[random.below(len(atoms))] for _ in range(1 + random.below(24)))


def bytes_to_characters():
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte if byte in printable else 256 + others.index(byte)) for byte in range(256)}


CHARACTERS = bytes_to_characters()
BYTES = {character: byte for byte, character in CHARACTERS.items()}


def replaced(data):
    """`data` with U+FFFD for what is no UTF-8, and the bytes that each U+FFFD stands for."""
    text, originals = "", []
    while data:
        try:
            valid, bad = data.decode(), b""
        except UnicodeDecodeError as error:
            valid, bad = data[:error.start].decode(), data[error.start:error.end]
        originals += ["\ufffd".encode()] * valid.count("\ufffd") + ([bad] if bad else [])
        text += valid + ("\ufffd" if bad else "")
        data = data[len(valid.encode()) + len(bad):]
    return text, originals


def restored(piece, originals):
    """The bytes of a piece of bytes, whose U+FFFD become the next originals."""
    parts = piece.split("\ufffd".encode())
    return parts[0] + b"".join(originals.pop(0) + part for part in parts[1:])


def reference_ids(tokenizer, data):
    try:
        return tokenizer.encode(data.decode(), add_special_tokens=False).ids
    except UnicodeDecodeError:
        text, originals = replaced(data)
    if tokenizer.normalizer is not None:
        text = tokenizer.normalizer.normalize_str(text)
    ids = []
    for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text):
        piece = restored(bytes(BYTES[c] for c in piece), originals)
        ids += [token.id for token in tokenizer.model.tokenize("".join(CHARACTERS[b] for b in piece))]
    return ids


def tiktoken_ids(encoding, data):
    import regex
    try:
        return encoding.encode_ordinary(data.decode())
    except UnicodeDecodeError:
        text, originals = replaced(data)
    ids = []
    for piece in regex.findall(encoding._pat_str, text):
        ids += encoding.encode_single_piece(restored(piece.encode(), originals)) if hasattr(
            encoding, "encode_single_piece") else encoding._encode_single_piece(restored(piece.encode(), originals))
    return ids


def split(pattern):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def train(name, pre_tokenizer, normalizer, added, texts, vocab_size, **model):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    tokenizer.add_tokens(added)
    tokenizer.add_special_tokens([AddedToken("<|endoftext|>", special=True, normalized=False)])
    description = json.loads(tokenizer.to_str())
    description["model"].update(model)
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps(description, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
    return Tokenizer.from_file(str(path))


def make_tokenizers(texts):
    gpt2 = pre_tokenizers.ByteLevel(add_prefix_space=False)
    spaces = [AddedToken(" " * count, normalized=True) for count in range(8, 1, -1)]
    odd = [AddedToken("<|sep|>", lstrip=True), AddedToken("[M]", rstrip=True), AddedToken("wordy", single_word=True),
           AddedToken("mask", lstrip=True, rstrip=True), AddedToken("\u00c5x", normalized=True)]
    digits = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), gpt2])
    return {
        "gpt2": train("gpt2", gpt2, None, [], texts, 700),
        "llama3": train("llama3", split(LLAMA3), None, [AddedToken("<|sep|>", special=True)], texts, 900,
                        ignore_merges=True),
        "neox": train("neox", gpt2, normalizers.NFC(), spaces, texts, 700),
        "qwen2": train("qwen2", split(QWEN2), normalizers.NFC(), odd, texts, 700),
        "o200k": train("o200k", split(O200K), None, [], texts, 700),
        "nfkc": train("nfkc", pre_tokenizers.ByteLevel(add_prefix_space=True),
                      normalizers.Sequence([normalizers.NFKC()]), odd, texts, 500),
        "digits": train("digits", digits, None, [], texts, 500),
    }


def make_tiktoken(base):
    """Tiktoken files of one set of ranks, and the library's encodings with the patterns that it ships."""
    import tiktoken
    import tiktoken_ext.openai_public as public
    description = json.loads(base.to_str())["model"]
    ranks = {bytes([byte]): byte for byte in range(256)}
    for merge in description["merges"]:
        token = bytes(BYTES[c] for c in "".join(merge))
        ranks.setdefault(token, len(ranks))
    text = "".join(f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in ranks.items())
    (FOLDER / "ranks.tiktoken").write_text(text)
    public.load_tiktoken_bpe = public.data_gym_to_mergeable_bpe_ranks = lambda *_, **__: {}
    encodings = {}
    for name, make in [("r50k", public.r50k_base), ("cl100k", public.cl100k_base), ("o200k", public.o200k_base)]:
        try:
            pattern = make()["pat_str"]
        except AssertionError:
            pattern = public.r50k_pat_str
        encodings[f"{name}:ranks.tiktoken"] = tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks,
                                                               special_tokens={})
    return encodings


def hash_of(ids):
    """The lower 24 bits of FNV-1a of the ids as 32-bit numbers."""
    value = 0x811C9DC5
    for byte in b"".join(i.to_bytes(4, "little") for i in ids):
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return f"{value:08x}"[2:]


def check(executable, name, all_lines, encode):
    """The number of lines whose ids by `executable` are others; shows the first."""
    num_different = 0
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for i, line in enumerate(all_lines):
            files.append(pathlib.Path(folder) / str(i))
            files[-1].write_bytes(line)
        tokenizer = name.replace("ranks", str(FOLDER / "ranks")) if ":" in name else str(FOLDER / f"{name}.json")
        output = subprocess.run([executable, "tokenizer", "encode", "--tokenizer", tokenizer, *files], check=True,
                                capture_output=True, text=True).stdout
    for i, (line, found) in enumerate(zip(all_lines, output.split("\n"))):
        expected = encode(line)
        found = [int(word) for word in found.split()]
        if found != expected:
            num_different += 1
            if num_different <= 3:
                at = next((k for k, (a, b) in enumerate(zip(found, expected)) if a != b), min(len(found), len(expected)))
                print(f"{name}: line {i} differs at id {at}: {found[at:at + 8]}, reference {expected[at:at + 8]}: "
                      f"{line[:300]!r}")
    print(f"{name}: {num_different} of {len(all_lines)} lines differ")
    return num_different


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", metavar="ARTEL", help="compare with this executable instead of writing")
    arguments = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    ranges = assigned_ranges()
    all_lines = list(lines(ranges))
    texts = [line.decode() for line in all_lines[:-NUM_INVALID][-NUM_RANDOM:]]
    if arguments.check:
        tokenizers = {path.stem: Tokenizer.from_file(str(path)) for path in sorted(FOLDER.glob("*.json"))
                      if path.stem != "expected"}
        encodings = make_tiktoken(tokenizers["gpt2"])
    else:
        tokenizers = make_tokenizers(texts)
        encodings = make_tiktoken(tokenizers["gpt2"])
    encoders = {name: lambda line, t=t: reference_ids(t, line) for name, t in tokenizers.items()}
    encoders.update({name: lambda line, e=e: tiktoken_ids(e, line) for name, e in encodings.items()})
    if arguments.check:
        return 1 if sum(check(arguments.check, name, all_lines, encode) for name, encode in encoders.items()) else 0
    expected = {
        "ranges": ranges,
        "atoms": [atom.encode().hex() for atom in ATOMS],
        "invalid_atoms": [atom.hex() for atom in INVALID_ATOMS],
        "runs": [[text.encode().hex(), count] for text, count in RUNS],
        "num_random": NUM_RANDOM, "num_invalid": NUM_INVALID,
        "hashes": {name: "".join(hash_of(encode(line)) for line in all_lines) for name, encode in encoders.items()},
    }
    (FOLDER / "expected.json").write_text(json.dumps(expected, separators=(",", ":")) + "\n")
    print(f"{len(all_lines)} lines, {len(encoders)} tokenizers, "
          f"{sum(p.stat().st_size for p in FOLDER.iterdir()) // 1000} KB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
