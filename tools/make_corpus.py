#!/usr/bin/env python3
"""Makes a byte corpus for language models out of the texts in unpacked distribution packages.

usage: make_corpus.py PACKAGES_DIR OUTPUT_DIR

PACKAGES_DIR holds one directory per unpacked package, named after the package. Each source below turns the files of some
packages into documents: mark-up is stripped, long documents are cut at their headings, documents that are near empty,
twice there or not English prose are dropped. OUTPUT_DIR receives train.bin, validation.bin, validation-DOMAIN.bin (UTF-8
bytes, byte 0 after each document) and LISTING.txt. A document belongs to the validation set by its own hash, and
documents are ordered by hash, so that every prefix of a file is a mix of all domains. Standard library only.
"""

import collections
import fnmatch
import hashlib
import multiprocessing
import os
import pathlib
import re
import string
import sys

import corpus_formats as formats
from corpus_formats import HEADING

MIN_TOTAL_BYTES = 50_000_000
MIN_DOMAINS = 4
MIN_DOCUMENT_BYTES = 40
MAX_DOMAIN_BYTES = 16_000_000  # so that no domain drowns the others; documents beyond it go in order of their hash
SECTION_BYTES = 6_000  # a document longer than this is cut at its next heading,
MAX_SECTION_BYTES = 20_000  # and one longer than this at the end of its paragraph
VALIDATION_SHARE = 0.01

# --- sources ----------------------------------------------------------------------------------------------------------

NAVIGATION = r'<div class="nav(?:header|footer)">.*?</table>.*?</div>|<div id="footer">.*?</body>'

# domain, package, files in it, reader, its options
SOURCES = [
    ("bible", "sword-text-kjv", "**/ztext/*/*.bzs", formats.bible_documents, {}),
    ("dictionary", "dict-gcide", "**/gcide.index", formats.webster_documents, {}),
    ("wordnet", "wordnet-base", "**/data.*", formats.wordnet_documents, {}),
    ("computing", "dict-foldoc", "**/foldoc.index", formats.computing_documents, {}),
    ("computing", "jargon-text", "**/jargon.txt.gz", formats.jargon_documents, {}),
    ("essays", "anarchism", "**/html/*.html", formats.html_documents, {}),
    ("perl", "perl-doc", "**/*.pod", formats.pod_documents, {}),
    ("office", "libreoffice-help-en-us", "**/text/**/*.html", formats.html_documents,
     {"first": r'<div id="DisplayArea"[^>]*>', "last": r'<div id="DonationFrame"|<footer'}),
    ("office", "gnome-user-docs", "**/help/C/**/*.page", formats.html_documents, {"first": r"(?=<title)"}),
    ("databases", "postgresql-doc-*", "**/html/*.html", formats.html_documents, {"drop": NAVIGATION}),
    ("databases", "sqlite3-doc", "**/*.html", formats.html_documents,
     {"first": r"antiRobotDefense\(\);\s*</script>|(?=<h1)", "last": r"<small><i>This page last"}),
    ("system", "git-doc", "**/*.html", formats.html_documents, {"drop": NAVIGATION}),
    ("system", "debian-reference-en", "**/debian-reference.en.txt.gz", formats.plain_documents, {}),
    ("system", "developers-reference", "**/developers-reference.txt.gz", formats.plain_documents, {}),
    ("system", "debian-policy", "**/*.txt.gz", formats.plain_documents, {}),
    ("system", "debian-faq", "**/debian-faq.en.txt.gz", formats.plain_documents, {}),
    ("quotes", "fortunes*", "**/games/fortunes/*", formats.fortune_documents, {}),
]
SKIPPED_FILES = re.compile(
    r"\.(?:dat|u8)$|_crossref|/requirements\.html|/ascii-art$|/bookindex\.html|/index\.html|/sitemap|/perltoc|/perluniprops"
    r"|/perlmodlib|/matrix/|/release-\d|/keyword_index|/session/|/genindex")


def find_files(packages):
    """[(domain, reader, path, options)] of every file that holds text."""
    tasks = []
    for domain, package, pattern, reader, options in SOURCES:
        for directory in sorted(packages.iterdir()):
            if fnmatch.fnmatchcase(directory.name, package):
                for path in sorted(directory.glob(pattern)):
                    if path.is_file() and not path.is_symlink() and not SKIPPED_FILES.search(str(path)):
                        tasks.append((domain, reader, str(path), options))
    return sorted(tasks, key=lambda task: -os.path.getsize(task[2]))  # the longest first, to keep all processes busy


# --- documents --------------------------------------------------------------------------------------------------------

PLAIN_CHARACTERS = str.maketrans({
    "\u00a0": " ", "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "--", "\u2026": "...",
    "\u2212": "-", "\u2022": "-", "\u00ad": "", "\u200b": "", "\ufeff": "", "\r": "", "\f": "\n", "\u2010": "-", "\u2011": "-",
    "\u202f": " ", "\u00b6": "", "\u2192": "->", "\u2009": " ", "\u21d2": "=>"})
NOT_TEXT = re.compile("[\x00\x02-\x08\x0b-\x1f\x7f-\x9f\ufffd\ufff0-\uffff\ue000-\uf8ff\u2500-\u259f\U000e0000-\U0010ffff]")
RULES = re.compile(r"(?m)^ *[^\w\s\x01]{4,} *$")
CHECKSUM = re.compile(r"[0-9a-f]{32}")
COMMON_WORDS = frozenset("the of and to in a is that for it as was with be by on not this are or from at an you he".split())


def cleaned(text):
    text = NOT_TEXT.sub("", text.expandtabs(8).translate(PLAIN_CHARACTERS))
    if CHECKSUM.search(text):
        text = "\n".join(line for line in text.split("\n") if not CHECKSUM.search(line))
    text = RULES.sub("", text)
    text = re.sub(r" +\n", "\n", text)
    text = re.sub(r"(?m)^(\x01?) (?! )", r"\1", text)
    text = re.sub(r"(?m)^- *\n+(?=\S)", "- ", text)
    text = re.sub(r"\n{3,}", "\n\n", text)
    return text.strip(" \n")


def sections(text):
    """The text cut into documents at headings and, where these are far apart, between paragraphs; without the marks."""
    section, size = [], 0
    for part in re.split(r"(\n+|\x01)", text):
        limit = SECTION_BYTES if part == HEADING else MAX_SECTION_BYTES
        if size >= limit and part[:1] in (HEADING, "\n"):
            yield "".join(section)
            section, size = [], 0
        elif part != HEADING:
            section.append(part)
            size += len(part)
    yield "".join(section)


def is_english_prose(text):
    ascii_text = text.encode("ascii", "ignore")
    foreign = len(text) - len(ascii_text)
    dense = ascii_text.translate(None, b" \n\t")
    num_letters = len(dense) - len(dense.translate(None, string.ascii_letters.encode()))
    words = re.findall(r"[a-z]+", text[:5000].lower())
    num_common = sum(word in COMMON_WORDS for word in words)
    return num_letters >= 0.7 * len(dense) and foreign <= 0.03 * len(dense) and num_common >= 0.12 * len(words)


def convert(task):
    """(domain, [document as UTF-8 bytes]) of one file."""
    domain, reader, path, options = task
    documents = []
    for text in reader(pathlib.Path(path), **options):
        for section in sections(cleaned(text)):
            section = section.strip(" \n")
            document = section.encode("utf-8")
            if len(document) >= MIN_DOCUMENT_BYTES and is_english_prose(section):
                documents.append(document)
    return domain, documents


def in_validation(digest):
    return int.from_bytes(digest[:8], "big") < VALIDATION_SHARE * 2**64


def collect(packages):
    """{domain: [(digest, document)]}, each in order of digest and cut to MAX_DOMAIN_BYTES; no document twice."""
    domains = collections.defaultdict(dict)
    seen = set()
    with multiprocessing.Pool(os.cpu_count()) as pool:
        for domain, documents in pool.imap(convert, find_files(packages), chunksize=2):
            for document in documents:
                digest = hashlib.sha256(document).digest()
                if digest not in seen:
                    seen.add(digest)
                    domains[domain][digest] = document
    result = {}
    for domain in sorted(domains):
        kept, size = [], 0
        # The order for the cut is not the order for the split, or the cut would spare the validation set.
        for digest in sorted(domains[domain], key=lambda digest: digest[8:]):
            size += len(domains[domain][digest]) + 1
            if size > MAX_DOMAIN_BYTES:
                break
            kept.append((digest, domains[domain][digest]))
        result[domain] = sorted(kept)
    return result


def write_documents(path, documents):
    with open(path, "wb") as file:
        for _, document in documents:
            file.write(document + b"\0")
    return path.stat().st_size


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    packages, output = map(pathlib.Path, sys.argv[1:])
    domains = collect(packages)
    total = sum(len(document) + 1 for documents in domains.values() for _, document in documents)
    if total < MIN_TOTAL_BYTES or len(domains) < MIN_DOMAINS:
        sys.exit(f"[corpus] required {MIN_TOTAL_BYTES} bytes in {MIN_DOMAINS} domains, found {total} bytes in {len(domains)} "
                 f"({', '.join(domains)}); more packages must be downloadable")
    output.mkdir(parents=True, exist_ok=True)
    lines = [f"{'domain':<12}{'documents':>10}{'train bytes':>14}{'validation bytes':>18}"]
    for domain, documents in domains.items():
        held_out = [entry for entry in documents if in_validation(entry[0])] or documents[:1]
        held_out_bytes = write_documents(output / f"validation-{domain}.bin", held_out)
        domain_bytes = sum(len(document) + 1 for _, document in documents)
        lines.append(f"{domain:<12}{len(documents):>10}{domain_bytes - held_out_bytes:>14}{held_out_bytes:>18}")
        domains[domain] = (held_out, documents[len(held_out):])
    for name, which in (("validation", 0), ("train", 1)):
        write_documents(output / f"{name}.bin", sorted(entry for parts in domains.values() for entry in parts[which]))
    sizes = [(output / f"{name}.bin").stat().st_size for name in ("train", "validation")]
    lines.append(f"{'all':<12}{sum(len(a) + len(b) for a, b in domains.values()):>10}{sizes[0]:>14}{sizes[1]:>18}")
    (output / "LISTING.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
