#include "checkpoint/manifest.h"

#include "checkpoint/safetensors.h"
#include "util/crc32c.h"
#include "util/text.h"

namespace artel {
namespace {

constexpr const char* format_name = "artel-checkpoint";
constexpr std::int64_t format_version = 1;

// The file ends with this member, its checksum of 8 digits and the closing lines; the checksum covers what precedes.
constexpr std::string_view seal_begin = ",\n \"manifest_crc32c\": \"";
constexpr std::string_view seal_end = "\"\n}\n";
constexpr std::size_t crc_digits = 8;
constexpr std::size_t seal_bytes = seal_begin.size() + crc_digits + seal_end.size();

bool is_sealed(std::string_view text) {
  if (text.size() < seal_bytes) return false;
  const std::string_view seal = text.substr(text.size() - seal_bytes);
  return seal.substr(0, seal_begin.size()) == seal_begin && seal.substr(seal_begin.size() + crc_digits) == seal_end;
}

void check_seal(std::string_view text, const std::string& path) {
  const std::string required = crc32c_hex(crc32c(text.data(), text.size() - seal_bytes));
  const std::string_view found = text.substr(text.size() - seal_end.size() - crc_digits, crc_digits);
  if (found != required) {
    fail("checkpoint",
         concat("required checksum ", required, " at the end of the manifest, found ", excerpt_json(std::string(found)),
                " in ", path, "; the manifest is damaged, use an older checkpoint"));
  }
}

Json tensor_json(const ManifestTensor& tensor) {
  Json slices = Json::array();
  for (const ManifestSlice& slice : tensor.slices) {
    slices.push_back({{"file", slice.file},
                      {"key", slice.key},
                      {"begin", shape_json(slice.rectangle.begin)},
                      {"end", shape_json(slice.rectangle.end)},
                      {"crc32c", crc32c_hex(slice.crc32c)}});
  }
  return {
      {"dtype", safetensors_dtype(tensor.dtype)}, {"shape", shape_json(tensor.shape)}, {"slices", std::move(slices)}};
}

std::uint32_t parse_crc(const std::string& hex, const std::string& where) {
  if (hex.size() != crc_digits || hex.find_first_not_of("0123456789abcdef") != std::string::npos) {
    fail("checkpoint", concat("required a CRC-32C of 8 hexadecimal digits, found ", excerpt_json(hex), " in ", where));
  }
  return static_cast<std::uint32_t>(std::stoul(hex, nullptr, 16));
}

ManifestTensor parse_tensor(const Json& json, const std::string& where) {
  ManifestTensor tensor;
  tensor.shape = parse_shape(json_member(json, "shape", where), where);
  tensor.dtype = parse_safetensors_dtype(json_value<std::string>(json, "dtype", where), where);
  const Json& slices = json_member(json, "slices", where);
  if (!slices.is_array()) {
    fail("checkpoint", concat("required a list of slices, found ", excerpt_json(slices), " in ", where));
  }
  for (const Json& item : slices) {
    ManifestSlice slice;
    slice.file = json_value<std::string>(item, "file", where);
    slice.key = json_value<std::string>(item, "key", where);
    slice.rectangle.begin = parse_shape(json_member(item, "begin", where), where);
    slice.rectangle.end = parse_shape(json_member(item, "end", where), where);
    slice.crc32c = parse_crc(json_value<std::string>(item, "crc32c", where), where);
    if (slice.file.empty() || slice.file.find('/') != std::string::npos) {
      fail("checkpoint",
           concat("required the name of a file beside the manifest, found ", excerpt_json(slice.file), " in ", where));
    }
    tensor.slices.push_back(std::move(slice));
  }
  return tensor;
}

void check_slices(const ManifestTensor& tensor, const std::string& where) {
  std::vector<Rectangle> rectangles;
  for (const ManifestSlice& slice : tensor.slices) rectangles.push_back(slice.rectangle);
  check_tiling(tensor.shape, rectangles, where);
}

SortedJson parse_document(const std::string& text, const std::string& path) {
  if (text.empty()) {
    fail("checkpoint", concat("required a manifest, found the empty file ", path, "; use an older checkpoint"));
  }
  try {
    return parse_sorted_json(text, path);
  } catch (const Error& error) {
    fail("checkpoint", concat("required a manifest of whole JSON, found ", text.size(), " bytes that are none: ",
                              error.what(), "; the manifest is damaged, use an older checkpoint"));
  }
}

}  // namespace

std::string share_text(const std::map<std::string, ManifestTensor>& tensors) {
  Json json = Json::object();
  for (const auto& [name, tensor] : tensors) json[name] = tensor_json(tensor);
  return dump_json(json);
}

void add_share(const std::string& text, const std::string& where, std::map<std::string, ManifestTensor>& tensors) {
  const Json share = parse_json(text, where);
  for (const auto& [name, json] : share.items()) {
    ManifestTensor part = parse_tensor(json, concat(where, ": tensor ", name));
    ManifestTensor& tensor = tensors.try_emplace(name, ManifestTensor{part.dtype, part.shape, {}}).first->second;
    if (tensor.dtype != part.dtype || !(tensor.shape == part.shape)) {
      fail("checkpoint", concat("required tensor ", name, " of one shape and type on every rank, found ",
                                tensor.shape.to_string(), " ", dtype_name(tensor.dtype), " and ",
                                part.shape.to_string(), " ", dtype_name(part.dtype), " in ", where));
    }
    for (ManifestSlice& slice : part.slices) tensor.slices.push_back(std::move(slice));
  }
}

void check_tilings(const std::map<std::string, ManifestTensor>& tensors) {
  for (const auto& [name, tensor] : tensors) check_slices(tensor, "tensor " + name);
}

std::string manifest_text(const Manifest& manifest) {
  std::string text = concat("{\n \"format\": \"", format_name, "\",\n \"version\": ", format_version);
  for (const auto& [key, value] : manifest.head.items()) {
    text += concat(",\n ", dump_json(key), ": ", dump_json(value));
  }
  text += ",\n \"tensors\": {";
  const char* separator = "\n  ";
  for (const auto& [name, tensor] : manifest.tensors) {
    text += concat(separator, dump_json(name), ": ", dump_json(tensor_json(tensor)));
    separator = ",\n  ";
  }
  text += "\n }";
  const std::string checksum = crc32c_hex(crc32c(text.data(), text.size()));
  return concat(text, seal_begin, checksum, seal_end);
}

Manifest parse_manifest(const std::string& text, const std::string& path) {
  const bool sealed = is_sealed(text);
  if (sealed) check_seal(text, path);  // damage is named as such, whatever it would look like further down
  const SortedJson all = parse_document(text, path);
  Manifest manifest;
  if (all.is_object()) {
    for (const auto& [key, value] : all.items()) {
      if (key != "tensors" && key != "manifest_crc32c") manifest.head[key] = value;
    }
  }
  const auto format = json_value<std::string>(manifest.head, "format", path);
  const auto version = json_value<std::int64_t>(manifest.head, "version", path);
  if (format != format_name || version != format_version) {
    fail("checkpoint",
         concat("required format ", format_name, " version ", format_version, ", found ", excerpt_json(format),
                " version ", version, " in ", path, "; read it with the Artel that wrote it"));
  }
  if (!sealed) {
    fail("checkpoint", concat("required a checksum at the end of the manifest, found none in ", path,
                              "; the manifest is damaged or was edited"));
  }
  const auto tensors = all.find("tensors");
  if (tensors == all.end() || !tensors->is_object()) {
    fail("checkpoint", concat("required an object \"tensors\", found none in ", path));
  }
  for (const auto& [name, json] : tensors->items()) {
    const std::string where = concat(path, ": tensor ", name);
    check_slices(manifest.tensors[name] = parse_tensor(json, where), where);
  }
  return manifest;
}

}  // namespace artel
