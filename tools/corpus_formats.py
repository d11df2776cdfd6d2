"""Readers of the text formats that distribution packages ship, for make_corpus.py.

Each `*_documents(path, ...)` yields the documents of one file as text without mark-up. HEADING stands before a heading,
where a long document may be cut.
"""

import gzip
import html
import pathlib
import re
import struct
import unicodedata
import zlib

HEADING = "\x01"
PAGE_BYTES = 2_000  # short dictionary entries are gathered into pages of about this size


def read_text(path):
    data = pathlib.Path(path).read_bytes()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


# --- HTML and its relatives -------------------------------------------------------------------------------------------

DROPPED_ELEMENTS = re.compile(
    r"<!--.*?-->|<span hidden=\"true\"[^>]*>(?:<span[^>]*>[^<]*</span>|[^<])*</span>|"
    r"<(script|style|head|nav|header|footer|aside|noscript|svg|form|button|select|info|sup)\b[^>]*?"
    r"(?:/>|>.*?</\1\s*>)", re.S | re.I)
PREFORMATTED = re.compile(r"<(pre|code style=\"block\"|screen)\b[^>]*>(.*?)</(?:pre|code|screen)>", re.S | re.I)
HEADING_TAG = re.compile(r"<(?:h[1-4]|title)\b[^>]*>", re.I)
ITEM_TAG = re.compile(r"<(?:li|item)\b[^>]*>(?:\s*<p\b[^>]*>)?", re.I)
BLOCK_TAG = re.compile(
    r"</?(?:p|div|h[1-6]|title|ul|ol|dl|dt|dd|table|tr|blockquote|hr|section|article|body|page|steps|list|note|media|"
    r"example|desc)\b[^>]*>", re.I)
CELL_TAG = re.compile(r"</(?:td|th)\s*>", re.I)
BREAK_TAG = re.compile(r"<br\b[^>]*>", re.I)
ANY_TAG = re.compile(r"</?[a-zA-Z!?][^<>]*>")


def flow(fragment):
    """Running text of an HTML fragment: paragraphs on a line each, with an empty line between."""
    fragment = re.sub(r"\s+", " ", fragment)
    fragment = HEADING_TAG.sub("\n\n" + HEADING, fragment)
    fragment = ITEM_TAG.sub("\n- ", fragment)
    fragment = CELL_TAG.sub("  ", fragment)
    fragment = BREAK_TAG.sub("\n", fragment)
    fragment = BLOCK_TAG.sub("\n\n", fragment)
    fragment = re.sub(r"\n +", "\n", ANY_TAG.sub("", fragment))
    return html.unescape(fragment)


def html_text(markup):
    markup = DROPPED_ELEMENTS.sub(" ", markup)
    parts = []
    end = 0
    for block in PREFORMATTED.finditer(markup):
        parts.append(flow(markup[end:block.start()]))
        parts.append("\n\n" + html.unescape(ANY_TAG.sub("", block.group(2))).strip("\n") + "\n\n")
        end = block.end()
    parts.append(flow(markup[end:]))
    return "".join(parts)


def html_documents(path, first=None, last=None, drop=None):
    """One document: the page between the patterns `first` and `last`, without what `drop` matches."""
    markup = read_text(path)
    if first is not None and (found := re.search(first, markup)):
        markup = markup[found.end():]
    if last is not None and (found := re.search(last, markup)):
        markup = markup[:found.start()]
    if drop is not None:
        markup = re.sub(drop, " ", markup, flags=re.S)
    yield html_text(markup)


# --- other formats ----------------------------------------------------------------------------------------------------

POD_CODE = re.compile(r"([BCEFILSXZ])(?:<<<\s(.*?)\s>>>|<<\s(.*?)\s>>|<([^<>]*)>)", re.S)
POD_ESCAPES = {"lt": "<", "gt": ">", "verbar": "|", "sol": "/", "amp": "&", "quot": '"'}


def pod_inline(match):
    code = match.group(1)
    text = next(group for group in match.groups()[1:] if group is not None)
    if code in "XZ":
        return ""
    if code == "E":
        # Angle brackets stand aside until all codes are resolved.
        return POD_ESCAPES.get(text, html.unescape(f"&{text};")).replace("<", "\x02").replace(">", "\x03")
    if code == "L":
        return text.split("|")[0].strip("/").replace("/", " in ", 1) if "|" in text or "://" not in text else text
    return text


def pod_documents(path):
    """Perl's documentation format: commands at the beginning of a line, inline codes such as C<< text >>."""
    out = []
    skipping = False
    for paragraph in re.split(r"\n[ \t]*\n+", read_text(path)):
        paragraph = paragraph.strip("\n")
        command = re.match(r"=([a-z]+\d?)\s*(.*)", paragraph, re.S)
        if command:
            name, text = command.groups()
            if name in ("begin", "end"):
                skipping = name == "begin"
            if name.startswith("head"):
                out.append(HEADING + pod_paragraph(text))
            elif name == "item" and text not in ("*", ""):
                out.append("- " + pod_paragraph(text.removeprefix("* ")))
        elif not skipping:
            out.append(paragraph if paragraph[:1] in (" ", "\t") else pod_paragraph(paragraph))
    yield "\n\n".join(out)


def pod_paragraph(text):
    for _ in range(6):  # codes nest; the innermost go first
        text, count = POD_CODE.subn(pod_inline, text)
        if count == 0:
            break
    return " ".join(text.replace("\x02", "<").replace("\x03", ">").split())


DICT_DIGITS = {letter: value for value, letter in
               enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")}


def dict_number(text):
    value = 0
    for letter in text:
        value = value * 64 + DICT_DIGITS[letter]
    return value


def dict_entries(index_path):
    """Entries of a dictd dictionary (an index beside a gzip-compatible .dict.dz) in the order of the file."""
    base = str(index_path).removesuffix(".index")
    with gzip.open(base + ".dict.dz") as file:
        data = file.read()
    places = set()
    for line in read_text(index_path).splitlines():
        name, offset, length = line.split("\t")[:3]
        if not name.startswith("00"):
            places.add((dict_number(offset), dict_number(length)))
    for offset, length in sorted(places):
        yield data[offset:offset + length].decode("utf-8", "replace")


def joined(entry):
    """An entry with each of its paragraphs on one line; paragraphs indented by more than three columns keep their lines."""
    paragraphs = []
    for paragraph in re.split(r"\n[ \t]*\n", entry.strip("\n")):
        verbatim = paragraph.startswith("    ") and "--" not in paragraph
        paragraphs.append(paragraph if verbatim else " ".join(paragraph.split()))
    return "\n".join(paragraph for paragraph in paragraphs if paragraph.strip())


def pages(entries):
    """Consecutive entries gathered into documents of about PAGE_BYTES."""
    page, size = [], 0
    for entry in entries:
        page.append(entry)
        size += len(entry)
        if size >= PAGE_BYTES:
            yield "\n\n".join(page)
            page, size = [], 0
    if page:
        yield "\n\n".join(page)


WEBSTER_SOURCE = re.compile(r"\s*\[[^\[\]]*(?:Webster|PJC|WordNet|Century Dict|Suppl|RHUD|AHD|MW10)[^\[\]]*\]")
WEBSTER_PRONUNCIATION = re.compile(r"\s*\([^()\n]*\[[^\[\]()\s]{1,5}\][^()\n]*\)|\s*\\[^\\\n]*\\|\s*\((?=,)")
WEBSTER_ACCENT = re.compile(r"\[([\"'`^=~.,*-]*)([A-Za-z])([\"'`^=~.,*-]*)\]")
WEBSTER_LIGATURE = re.compile(r"\[=?(ae|oe|AE|OE|eth|th|dh|ng|deg|yogh|sect|root|[aeiou](?:mac|um))\]")
COMBINING = {'"': "\u0308", "'": "\u0301", "`": "\u0300", "~": "\u0303", "^": "\u0302", ",": "\u0327"}
LIGATURES = {"ae": "\u00e6", "oe": "\u0153", "AE": "\u00c6", "OE": "\u0152", "eth": "\u00f0", "dh": "\u00f0", "deg": "\u00b0",
             "yogh": "gh", "sect": "\u00a7", "root": "", "aum": "\u00e4", "eum": "\u00eb", "ium": "\u00ef", "oum": "\u00f6",
             "uum": "\u00fc"}


def webster_letter(match):
    accent = (match.group(1) + match.group(3))[:1]
    return unicodedata.normalize("NFC", match.group(2) + COMBINING.get(accent, "")) if accent else match.group(0)


def webster_documents(path):
    """The collaborative dictionary: source tags, pronunciations and its own codes for letters with accents."""
    def clean(entry):
        entry = WEBSTER_SOURCE.sub("", entry)
        entry = WEBSTER_PRONUNCIATION.sub("", entry)
        entry = WEBSTER_ACCENT.sub(webster_letter, entry)
        entry = WEBSTER_LIGATURE.sub(lambda code: LIGATURES.get(code.group(1), code.group(1).removesuffix("mac")), entry)
        return joined(entry.replace("{", "").replace("}", ""))
    yield from pages(clean(entry) for entry in dict_entries(path))


def computing_documents(path):
    """The dictionary of computing: cross references in braces, a subject in angle brackets, a date at the end."""
    def clean(entry):
        entry = re.sub(r"\n\s*\(\d{4}-\d\d-\d\d\)\s*$", "", entry.rstrip())
        entry = re.sub(r"\n\s*\[\{?Jargon File\}?\]", "", entry)
        entry = re.sub(r"(?m)(^\s*(?:\d+\. )?)<[a-z][a-z /,-]*>\s+", r"\1", entry)
        return joined(entry.replace("{", "").replace("}", ""))
    yield from pages(clean(entry) for entry in dict_entries(path))


def wordnet_documents(path):
    """Sets of synonyms with their meaning: "words: meaning; examples", thirty to a document, neighbours in the file."""
    kind = path.name.removeprefix("data.").replace("adj", "adjective").replace("adv", "adverb")
    lines = []
    for line in read_text(path).splitlines():
        if line.startswith("  ") or " | " not in line:
            continue
        fields, meaning = line.split(" | ", 1)
        fields = fields.split(" ")
        count = int(fields[3], 16)
        words = [re.sub(r"\(\w+\)$", "", word).replace("_", " ") for word in fields[4:4 + 2 * count:2]]
        lines.append(f"{', '.join(words)} ({kind}): {meaning.strip()}.")
    yield from pages(lines)


def bible_documents(path):
    """A SWORD module with one compressed block of OSIS mark-up per book: a document per chapter."""
    with open(path, "rb") as file:
        blocks = file.read()
    data = pathlib.Path(str(path).removesuffix("bzs") + "bzz").read_bytes()
    for offset, size, _ in struct.iter_unpack("<III", blocks):
        book = zlib.decompress(data[offset:offset + size]).decode("utf-8", "replace") if size else ""
        title = re.search(r'<milestone n="([^"]*)" type="x-usfm-h"', book)
        book = re.sub(r"<note\b.*?</note>", "", book, flags=re.S)
        chapters = re.split(r'<chapter n="(\d+)"[^>]*/>', book)
        for number, chapter in zip(chapters[1::2], chapters[2::2]):
            chapter = re.sub(r'<div\b[^>]*type="x-p"[^>]*/>|</?(?:lg|l|title)\b[^>]*>', "\n\n", chapter)
            paragraphs = (" ".join(html.unescape(ANY_TAG.sub("", part)).split()) for part in chapter.split("\n\n"))
            text = "\n\n".join(part for part in paragraphs if part)
            if text and title:
                yield f"{html.unescape(title.group(1))} {number}\n\n{text}"


def jargon_documents(path):
    """Entries that begin with ":word:", indented by three columns."""
    text = re.sub(r"\n   (?=:[^:\n]+:)", "\n\n" + HEADING, read_text(path))
    entries = [joined(entry.replace("{", "").replace("}", "")) for entry in text.split(HEADING)]
    yield from pages(entries)


def plain_documents(path):
    """Text laid out for the terminal: numbered headings, which are not indented, begin sections."""
    text = read_text(path).replace("\u00a0", " ")
    text = re.sub(r"\n(?=(?:Chapter )?\d+\.(?:\d+\.)* +[A-Z])", "\n" + HEADING, text)
    yield re.sub(r"(?m)^.*\. ?\. ?\..*$|^ *\|.*\|$", "", text)  # lines of a table of contents, rows of tables


def fortune_documents(path):
    """Quotations between lines that hold a percent sign."""
    text = re.sub(r".\x08", "", read_text(path)).expandtabs(8)
    yield from re.split(r"\n%+\n", re.sub(r"(?m)^ {5,}(?=--)", "    ", text))
