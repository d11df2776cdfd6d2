#!/usr/bin/env bash
# Builds data/corpus: multi-domain English text out of packages of Debian 12 or Ubuntu 24.04 and their kin. Nothing is
# installed and no root is needed: packages are downloaded and unpacked under data/corpus/packages. See data/README.md.
#
# usage: scripts/corpus.sh [--force]      --force: build again although the corpus is there
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(sword-text-kjv dict-gcide wordnet-base dict-foldoc jargon-text anarchism perl-doc libreoffice-help-en-us
  gnome-user-docs postgresql-doc sqlite3-doc git-doc debian-reference-en developers-reference debian-policy debian-faq
  fortunes fortunes-min)
corpus=data/corpus
cache=$corpus/packages

say() { printf '%s\n' "[corpus] $*" >&2; }
die() { say "$*"; exit 1; }

show() {
  cat "$corpus/LISTING.txt"
  echo
  cat "$corpus/CHECKSUMS"
}

# The corpus is there when it was made by this recipe and its files have their checksums.
recipe() { cat scripts/corpus.sh tools/make_corpus.py tools/corpus_formats.py | sha256sum | cut -d ' ' -f 1; }
complete() {
  [ -f "$corpus/CHECKSUMS" ] && [ -f "$corpus/LISTING.txt" ] && [ "$(cat "$corpus/RECIPE" 2>/dev/null)" = "$(recipe)" ] &&
    (cd "$corpus" && sha256sum --check --status CHECKSUMS)
}

# postgresql-doc is an empty package that depends on the documentation of the current version.
resolve() {
  local version=''
  if [ "$1" = postgresql-doc ]; then
    version=$(apt-cache depends "$1" 2>/dev/null | sed -n 's/^ *Depends: \(postgresql-doc-[0-9]*\)$/\1/p' | head -n 1)
  fi
  echo "${version:-$1}"
}

# "name version" of each package that can be downloaded.
candidates() {
  apt-cache policy "$@" 2>/dev/null | sed -n -e 's/^\([^ ].*\):$/\1/;T next;h;b' -e ':next' -e 's/^ *Candidate: //;T' -e 'H;g;s/\n/ /p' |
    grep -v ' (none)$' || true
}

fetched() { [ -f "$cache/$1/.version" ] && [ "$(cat "$cache/$1/.version")" = "$2" ]; }

download() { (cd "$cache/debs" && apt-get download -qq -o Acquire::Retries=3 -o APT::Sandbox::User=root "$@" >&2); }

unpack() {
  local name=$1 version=$2
  local archives=("$cache/debs/${name}"_*.deb)
  [ -f "${archives[0]}" ] || return 1
  rm -rf "${cache:?}/$name"
  mkdir "$cache/$name"
  dpkg -x "${archives[0]}" "$cache/$name" || return 1
  rm -f "${archives[@]}"
  echo "$version" >"$cache/$name/.version"
}

force=no
case "${1:-}" in
  '') ;;
  --force) force=yes ;;
  -h | --help) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 0 ;;
  *) die "required no argument or --force, found '$1'" ;;
esac

if [ $force = no ] && complete; then
  say "$corpus is complete; --force builds it again"
  show
  exit 0
fi

for command in apt-get apt-cache dpkg python3 sha256sum; do
  command -v "$command" >/dev/null || die "required the command $command, found none; the corpus is made on Debian, Ubuntu and their kin"
done

rm -rf "$cache/debs"
mkdir -p "$cache/debs"
names=()
for wanted in "${packages[@]}"; do names+=("$(resolve "$wanted")"); done
declare -A version_of=()
while read -r name version; do [ -z "$name" ] || version_of[$name]=$version; done <<<"$(candidates "${names[@]}")"
wanted=()
for name in "${!version_of[@]}"; do
  fetched "$name" "${version_of[$name]}" || wanted+=("$name=${version_of[$name]}")
done
if [ "${#wanted[@]}" -gt 0 ]; then
  say "downloading ${#wanted[@]} packages"
  # One that cannot be had makes apt-get leave out the others too; then each is tried alone.
  download "${wanted[@]}" || for package in "${wanted[@]}"; do download "$package" || true; done
fi
missing=()
found=()
for name in "${names[@]}"; do
  version=${version_of[$name]:-}
  if [ -z "$version" ]; then
    say "package $name is not in the package lists; its text will be missing"
    missing+=("$name")
  elif fetched "$name" "$version" || unpack "$name" "$version"; then
    say "$name $version"
    found+=("$name")
  else
    say "package $name $version could not be downloaded; its text will be missing"
    missing+=("$name")
  fi
done
if [ "${#found[@]}" = 0 ]; then
  die "no package could be had; run 'apt-get update' as root (sudo apt-get update), check the network, and start again"
fi
# Only packages of this run may flow into the corpus.
for directory in "$cache"/*/; do
  case " ${found[*]} " in *" $(basename "$directory") "*) ;; *) rm -rf "$directory" ;; esac
done

say "making the corpus"
rm -rf "$corpus/new"
rm -f "$corpus/CHECKSUMS" "$corpus/RECIPE"
if ! python3 tools/make_corpus.py "$cache" "$corpus/new"; then
  rm -rf "$corpus/new"
  die "not made; missing packages: ${missing[*]:-none}; run 'apt-get update' as root (sudo apt-get update) and start again"
fi
rm -f "$corpus"/*.bin
mv "$corpus"/new/* "$corpus/"
rmdir "$corpus/new"
(cd "$corpus" && sha256sum -- *.bin >CHECKSUMS.new && mv CHECKSUMS.new CHECKSUMS)
recipe >"$corpus/RECIPE"
show
