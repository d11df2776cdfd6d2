#include <algorithm>
#include <cstring>
#include <optional>

#include "checkpoint/layout.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/store.h"
#include "util/crc32c.h"
#include "util/text.h"

namespace artel {
namespace {

struct Slice {
  const unsigned char* data = nullptr;  ///< in the mapped file
  std::size_t bytes = 0;
  Shape begin;
  Shape end;
  std::uint32_t crc = 0;
  bool verified = false;
};

bool overlaps(const Shape& begin_a, const Shape& end_a, const Shape& begin_b, const Shape& end_b) {
  for (int i = 0; i < begin_a.rank(); ++i) {
    if (std::max(begin_a[i], begin_b[i]) >= std::min(end_a[i], end_b[i])) return false;
  }
  return true;
}

// Copies what [begin, end) and a slice have in common, a run of the last dimension at a time.
void copy_overlap(const Slice& slice, const Shape& begin, const Shape& end, std::size_t element_bytes,
                  unsigned char* out) {
  const int rank = begin.rank();
  if (rank == 0) {
    std::memcpy(out, slice.data, element_bytes);
    return;
  }
  const Shape from_shape = extent(slice.begin, slice.end);
  const Shape to_shape = extent(begin, end);
  Shape low = zero_shape(rank);
  Shape high = zero_shape(rank);
  for (int i = 0; i < rank; ++i) {
    low.set(i, std::max(begin[i], slice.begin[i]));
    high.set(i, std::min(end[i], slice.end[i]));
  }
  const std::size_t run_bytes = static_cast<std::size_t>(high[rank - 1] - low[rank - 1]) * element_bytes;
  Shape index = low;
  for (;;) {
    std::int64_t from = 0;
    std::int64_t to = 0;
    for (int i = 0; i < rank; ++i) {
      from = from * from_shape[i] + index[i] - slice.begin[i];
      to = to * to_shape[i] + index[i] - begin[i];
    }
    std::memcpy(out + static_cast<std::size_t>(to) * element_bytes,
                slice.data + static_cast<std::size_t>(from) * element_bytes, run_bytes);
    int dim = rank - 2;
    while (dim >= 0 && index[dim] + 1 == high[dim]) {
      index.set(dim, low[dim]);
      --dim;
    }
    if (dim < 0) return;
    index.set(dim, index[dim] + 1);
  }
}

std::uint32_t parse_crc(const std::string& hex, const std::string& where) {
  if (hex.size() != 8 || hex.find_first_not_of("0123456789abcdef") != std::string::npos) {
    fail("checkpoint", concat("required a CRC-32C of 8 hexadecimal digits, found '", hex, "' in ", where));
  }
  return static_cast<std::uint32_t>(std::stoul(hex, nullptr, 16));
}

// The slices of a tensor must tile it: inside, disjoint, as many elements as the whole.
void check_tiling(const std::string& name, const Shape& shape, const std::vector<Slice>& slices,
                  const std::string& path) {
  std::int64_t covered = 0;
  for (std::size_t i = 0; i < slices.size(); ++i) {
    const Slice& slice = slices[i];
    for (int dim = 0; dim < shape.rank(); ++dim) {
      if (slice.begin[dim] > slice.end[dim] || slice.end[dim] > shape[dim]) {
        fail("checkpoint", concat("required slices within ", shape.to_string(), ", found ", slice.begin.to_string(),
                                  " to ", slice.end.to_string(), " of tensor ", name, " in ", path));
      }
    }
    for (std::size_t j = 0; j < i; ++j) {
      if (overlaps(slice.begin, slice.end, slices[j].begin, slices[j].end)) {
        fail("checkpoint",
             concat("required slices that do not overlap, found two that do in tensor ", name, " in ", path));
      }
    }
    covered += extent(slice.begin, slice.end).numel();
  }
  if (covered != shape.numel()) {
    fail("checkpoint", concat("required slices that cover tensor ", name, " of ", shape.numel(), " elements, found ",
                              covered, " in ", path));
  }
}

}  // namespace

struct Checkpoint::Impl {
  struct OpenFile {
    MappedFile mapped;
    SafetensorsIndex index;
  };

  std::string path;
  Json manifest;
  std::map<std::string, OpenFile> open_files;
  std::map<std::string, TensorInfo> tensors;
  std::map<std::string, std::vector<Slice>> slices;

  void read_manifest(FileLayer& files);
  const OpenFile& open_file(const std::string& name);
  Slice parse_slice(const std::string& tensor, const TensorInfo& info, const Json& json);
  void parse_tensor(const std::string& name, const Json& json);
  void verify_slice(const std::string& name, Slice& slice) const;
};

void Checkpoint::Impl::read_manifest(FileLayer& files) {
  const std::string file = join_path(path, "manifest.json");
  if (!files.exists(file)) {
    fail("checkpoint", concat("required a checkpoint directory with manifest.json, found none at ", path));
  }
  manifest = parse_json(files.read(file), file);
  if (json_value<std::string>(manifest, "format", file) != checkpoint_format) {
    fail("checkpoint",
         concat("required format ", checkpoint_format, ", found ", dump_json(manifest["format"]), " in ", file));
  }
  const auto version = json_value<std::int64_t>(manifest, "version", file);
  if (version != checkpoint_version) {
    fail("checkpoint", concat("required version ", checkpoint_version, ", found ", version, " in ", file,
                              "; use the Artel that wrote it, or a newer one"));
  }
  const std::string checksum = manifest_checksum(manifest);
  if (json_value<std::string>(manifest, "manifest_crc32c", file) != checksum) {
    fail("checkpoint", concat("required a manifest with checksum ", checksum, ", found ",
                              dump_json(manifest["manifest_crc32c"]), " in ", file, "; the manifest is damaged"));
  }
}

const Checkpoint::Impl::OpenFile& Checkpoint::Impl::open_file(const std::string& name) {
  const auto found = open_files.find(name);
  if (found != open_files.end()) return found->second;
  if (name.empty() || name.find('/') != std::string::npos) {
    fail("checkpoint", concat("required the name of a file beside the manifest, found '", name, "' in ", path));
  }
  const std::string file_path = join_path(path, name);
  MappedFile mapped(file_path);
  SafetensorsIndex index = parse_safetensors(mapped.data(), mapped.size(), file_path);
  return open_files.emplace(name, OpenFile{std::move(mapped), std::move(index)}).first->second;
}

Slice Checkpoint::Impl::parse_slice(const std::string& tensor, const TensorInfo& info, const Json& json) {
  const std::string where = concat(path, ": tensor ", tensor);
  const OpenFile& file = open_file(json_value<std::string>(json, "file", where));
  const auto key = json_value<std::string>(json, "key", where);
  const auto entry =
      std::find_if(file.index.entries.begin(), file.index.entries.end(), [&](const auto& e) { return e.key == key; });
  if (entry == file.index.entries.end()) {
    fail("checkpoint", concat("required entry ", key, ", found none of that name in ", file.mapped.path()));
  }
  Slice slice;
  slice.begin = parse_shape(json_member(json, "begin", where), where);
  slice.end = parse_shape(json_member(json, "end", where), where);
  slice.crc = parse_crc(json_value<std::string>(json, "crc32c", where), where);
  const bool ranks_agree = slice.begin.rank() == info.shape.rank() && slice.end.rank() == info.shape.rank();
  if (!ranks_agree || entry->dtype != info.dtype || !(entry->shape == extent(slice.begin, slice.end))) {
    fail("checkpoint", concat("required a slice that fits its entry ", key, " of shape ", entry->shape.to_string(),
                              ", found ", slice.begin.to_string(), " to ", slice.end.to_string(), " in ", where));
  }
  slice.data = file.mapped.data() + file.index.data_offset + entry->begin;
  slice.bytes = static_cast<std::size_t>(entry->end - entry->begin);
  return slice;
}

void Checkpoint::Impl::parse_tensor(const std::string& name, const Json& json) {
  const std::string where = concat(path, ": tensor ", name);
  TensorInfo info;
  info.shape = parse_shape(json_member(json, "shape", where), where);
  info.dtype = parse_safetensors_dtype(json_value<std::string>(json, "dtype", where), where);
  std::vector<Slice> parsed;
  for (const Json& slice : json_member(json, "slices", where)) parsed.push_back(parse_slice(name, info, slice));
  check_tiling(name, info.shape, parsed, path);
  info.num_slices = parsed.size();
  tensors[name] = info;
  slices[name] = std::move(parsed);
}

void Checkpoint::Impl::verify_slice(const std::string& name, Slice& slice) const {
  if (slice.verified) return;
  const std::uint32_t found = crc32c(slice.data, slice.bytes);
  if (found != slice.crc) {
    fail("checkpoint", concat("required CRC-32C ", crc32c_hex(slice.crc), " for tensor ", name, ", found ",
                              crc32c_hex(found), " in ", path, "; the file is damaged"));
  }
  slice.verified = true;
}

Checkpoint::Checkpoint(FileLayer& files, const std::string& path) : impl_(std::make_unique<Impl>()) {
  impl_->path = path;
  impl_->read_manifest(files);
  const Json& all = json_member(impl_->manifest, "tensors", path);
  if (!all.is_object()) fail("checkpoint", concat("required an object 'tensors', found another value in ", path));
  for (const auto& [name, json] : all.items()) impl_->parse_tensor(name, json);
}

Checkpoint::~Checkpoint() = default;
Checkpoint::Checkpoint(Checkpoint&&) noexcept = default;

const std::string& Checkpoint::path() const {
  return impl_->path;
}
const Json& Checkpoint::manifest() const {
  return impl_->manifest;
}
std::int64_t Checkpoint::step() const {
  return json_value<std::int64_t>(impl_->manifest, "step", path());
}
std::int64_t Checkpoint::tokens() const {
  return json_value<std::int64_t>(impl_->manifest, "tokens", path());
}
const std::map<std::string, Checkpoint::TensorInfo>& Checkpoint::tensors() const {
  return impl_->tensors;
}

void Checkpoint::read(const std::string& name, const Shape& begin, const Shape& end, void* out) const {
  const auto found = impl_->tensors.find(name);
  if (found == impl_->tensors.end())
    fail("checkpoint", concat("required tensor ", name, ", found none of that name in ", path()));
  const TensorInfo& info = found->second;
  bool inside = begin.rank() == info.shape.rank() && end.rank() == info.shape.rank();
  for (int i = 0; inside && i < begin.rank(); ++i) inside = begin[i] <= end[i] && end[i] <= info.shape[i];
  if (!inside) {
    fail("checkpoint", concat("required ", begin.to_string(), " to ", end.to_string(), " of tensor ", name,
                              ", found shape ", info.shape.to_string(), " in ", path()));
  }
  for (Slice& slice : impl_->slices.at(name)) {
    if (!overlaps(begin, end, slice.begin, slice.end)) continue;
    impl_->verify_slice(name, slice);
    copy_overlap(slice, begin, end, dtype_size(info.dtype), static_cast<unsigned char*>(out));
  }
}

void Checkpoint::verify() const {
  for (auto& [name, slices] : impl_->slices) {
    for (Slice& slice : slices) impl_->verify_slice(name, slice);
  }
}

std::vector<std::string> list_checkpoints(FileLayer& files, const std::string& directory) {
  if (!files.exists(directory)) return {};
  std::map<std::int64_t, std::string, std::greater<>> found;  // newest first
  const std::vector<std::string> names = files.list(directory);
  // A step that was being replaced when the job was killed stands under its other name only.
  for (const std::string& name : names) {
    const std::string_view prefix = replaced_prefix;
    if (name.rfind(prefix, 0) != 0) continue;
    const std::int64_t step = parse_step_name(name.substr(prefix.size()));
    if (step >= 0) found[step] = join_path(directory, name);
  }
  for (const std::string& name : names) {
    const std::int64_t step = parse_step_name(name);
    if (step >= 0) found[step] = join_path(directory, name);
  }
  std::vector<std::string> paths;
  for (const auto& [step, path] : found) paths.push_back(path);
  return paths;
}

std::unique_ptr<Checkpoint> open_newest(FileLayer& files, const std::string& directory,
                                        const std::function<void(const std::string&)>& report) {
  for (const std::string& path : list_checkpoints(files, directory)) {
    try {
      auto checkpoint = std::make_unique<Checkpoint>(files, path);
      checkpoint->verify();
      return checkpoint;
    } catch (const Error& error) {
      report(concat("checkpoint ", path, " is damaged and passed over: ", error.what()));
    }
  }
  return nullptr;
}

}  // namespace artel
