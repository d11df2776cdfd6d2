#include "tokenizer/unicode.h"

#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/stringpiece.h>
#include <unicode/uchar.h>
#include <unicode/uniset.h>

#include <algorithm>
#include <limits>

#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

bool has_category(char32_t code_point, uint32_t mask) {
  return (U_GET_GC_MASK(static_cast<UChar32>(code_point)) & mask) != 0;
}

[[noreturn]] void fail_icu(UErrorCode code) {
  fail("tokenizer", concat("required ICU to normalise text, found its error ", u_errorName(code)));
}

const icu::UnicodeSet& known_to_reference() {
  static const icu::UnicodeSet known = [] {
    UErrorCode code = U_ZERO_ERROR;
    icu::UnicodeSet set(icu::UnicodeString("[:age=9.0:]"), code);
    if (U_FAILURE(code)) fail_icu(code);
    set.freeze();
    return set;
  }();
  return known;
}

icu::FilteredNormalizer2 normalizer_by(const icu::Normalizer2* (*get)(UErrorCode&)) {
  UErrorCode code = U_ZERO_ERROR;
  const icu::Normalizer2* normalizer = get(code);
  if (U_FAILURE(code)) fail_icu(code);
  return {*normalizer, known_to_reference()};
}

const icu::Normalizer2& normalizer_of(NormalForm form) {
  static const icu::FilteredNormalizer2 nfc = normalizer_by(icu::Normalizer2::getNFCInstance);
  static const icu::FilteredNormalizer2 nfd = normalizer_by(icu::Normalizer2::getNFDInstance);
  static const icu::FilteredNormalizer2 nfkc = normalizer_by(icu::Normalizer2::getNFKCInstance);
  static const icu::FilteredNormalizer2 nfkd = normalizer_by(icu::Normalizer2::getNFKDInstance);
  return form == NormalForm::nfc ? nfc : form == NormalForm::nfd ? nfd : form == NormalForm::nfkc ? nfkc : nfkd;
}

icu::StringPiece piece_of(std::string_view text) {
  if (text.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    fail("tokenizer", concat("required at most 2147483647 bytes to normalise at once, found ", text.size()));
  }
  return {text.data(), static_cast<int32_t>(text.size())};
}

}  // namespace

bool is_white_space(char32_t code_point) {
  return u_isUWhiteSpace(static_cast<UChar32>(code_point)) != 0;
}

bool is_letter_or_number(char32_t code_point) {
  return has_category(code_point, U_GC_L_MASK | U_GC_N_MASK);
}

bool is_word_character(char32_t code_point) {
  return has_category(code_point, U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK) ||
         u_isUAlphabetic(static_cast<UChar32>(code_point)) != 0 ||
         u_hasBinaryProperty(static_cast<UChar32>(code_point), UCHAR_JOIN_CONTROL) != 0;
}

void normalize(NormalForm form, std::string_view text, std::string& out) {
  UErrorCode code = U_ZERO_ERROR;
  icu::StringByteSink<std::string> sink(&out);
  normalizer_of(form).normalizeUTF8(0, piece_of(text), sink, nullptr, code);
  if (U_FAILURE(code)) fail_icu(code);
}

bool is_normalized(NormalForm form, std::string_view text) {
  const bool ascii =
      std::all_of(text.begin(), text.end(), [](char byte) { return static_cast<unsigned char>(byte) < 0x80; });
  if (ascii) return true;
  UErrorCode code = U_ZERO_ERROR;
  const bool normalized = normalizer_of(form).isNormalizedUTF8(piece_of(text), code) != 0;
  if (U_FAILURE(code)) fail_icu(code);
  return normalized;
}

}  // namespace artel
