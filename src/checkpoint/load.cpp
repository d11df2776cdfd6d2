#include <algorithm>
#include <cstring>

#include "checkpoint/manifest.h"
#include "checkpoint/rotation.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/store.h"
#include "util/crc32c.h"
#include "util/text.h"

namespace artel {
namespace {

struct Slice {
  const unsigned char* data = nullptr;  ///< in the mapped file
  std::size_t bytes = 0;
  Rectangle rectangle;
  std::uint32_t crc = 0;
  const std::string* file = nullptr;  ///< path, for messages
  bool verified = false;
};

// Copies what a wanted rectangle and a slice have in common, a run of the last dimension at a time.
void copy_overlap(const Slice& slice, const Rectangle& wanted, std::size_t element_bytes, unsigned char* out) {
  const int rank = wanted.begin.rank();
  if (rank == 0) {
    std::memcpy(out, slice.data, element_bytes);
    return;
  }
  const Rectangle& stored = slice.rectangle;
  const Shape from_shape = stored.extent();
  const Shape to_shape = wanted.extent();
  Shape low = wanted.begin;
  Shape high = wanted.end;
  for (int i = 0; i < rank; ++i) {
    low.set(i, std::max(wanted.begin[i], stored.begin[i]));
    high.set(i, std::min(wanted.end[i], stored.end[i]));
  }
  const std::size_t run_bytes = static_cast<std::size_t>(high[rank - 1] - low[rank - 1]) * element_bytes;
  Shape index = low;
  for (;;) {
    std::int64_t from = 0;
    std::int64_t to = 0;
    for (int i = 0; i < rank; ++i) {
      from = from * from_shape[i] + index[i] - stored.begin[i];
      to = to * to_shape[i] + index[i] - wanted.begin[i];
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

}  // namespace

struct Checkpoint::Impl {
  struct OpenFile {
    MappedFile mapped;
    SafetensorsIndex index;
  };

  std::string path;
  Json head;
  std::int64_t step = 0;
  std::int64_t tokens = 0;
  std::map<std::string, OpenFile> open_files;
  std::map<std::string, TensorInfo> tensors;
  std::map<std::string, std::vector<Slice>> slices;

  void read_manifest(FileLayer& files);
  const OpenFile& open_file(const std::string& name);
  Slice find_slice(const std::string& tensor, DType dtype, const ManifestSlice& stored);
  static void verify_slice(const std::string& name, Slice& slice);
};

void Checkpoint::Impl::read_manifest(FileLayer& files) {
  const std::string file = join_path(path, "manifest.json");
  if (!files.exists(file)) {
    fail("checkpoint",
         concat("required a checkpoint directory with manifest.json, found none at ", path, "; mend the path"));
  }
  Manifest manifest = parse_manifest(files.read(file), file);
  step = json_value<std::int64_t>(manifest.head, "step", file);
  tokens = json_value<std::int64_t>(manifest.head, "tokens", file);
  head = std::move(manifest.head);
  for (const auto& [name, tensor] : manifest.tensors) {
    tensors[name] = {tensor.shape, tensor.dtype, tensor.slices.size()};
    for (const ManifestSlice& stored : tensor.slices) slices[name].push_back(find_slice(name, tensor.dtype, stored));
  }
}

const Checkpoint::Impl::OpenFile& Checkpoint::Impl::open_file(const std::string& name) {
  const auto found = open_files.find(name);
  if (found != open_files.end()) return found->second;
  const std::string file_path = join_path(path, name);
  MappedFile mapped(file_path);
  SafetensorsIndex index = parse_safetensors(mapped.data(), mapped.size(), file_path);
  return open_files.emplace(name, OpenFile{std::move(mapped), std::move(index)}).first->second;
}

Slice Checkpoint::Impl::find_slice(const std::string& tensor, DType dtype, const ManifestSlice& stored) {
  const OpenFile& file = open_file(stored.file);
  const SafetensorsEntry* entry = file.index.find(stored.key);
  if (entry == nullptr) {
    fail("checkpoint", concat("required entry ", stored.key, " of tensor ", tensor, ", found none of that name in ",
                              file.mapped.path()));
  }
  const Shape shape = stored.rectangle.extent();
  if (entry->dtype != dtype || !(entry->shape == shape)) {
    fail("checkpoint", concat("required ", shape.to_string(), " of ", safetensors_dtype(dtype), " for slice ",
                              stored.rectangle.to_string(), " of tensor ", tensor, ", found ", entry->shape.to_string(),
                              " of ", safetensors_dtype(entry->dtype), " in ", file.mapped.path()));
  }
  Slice slice;
  slice.data = file.mapped.data() + file.index.data_offset + entry->begin;
  slice.bytes = static_cast<std::size_t>(entry->end - entry->begin);
  slice.rectangle = stored.rectangle;
  slice.crc = stored.crc32c;
  slice.file = &file.mapped.path();
  return slice;
}

void Checkpoint::Impl::verify_slice(const std::string& name, Slice& slice) {
  if (slice.verified) return;
  const std::uint32_t found = crc32c(slice.data, slice.bytes);
  if (found != slice.crc) {
    fail("checkpoint",
         concat("required CRC-32C ", crc32c_hex(slice.crc), " for ", slice.rectangle.to_string(), " of tensor ", name,
                ", found ", crc32c_hex(found), " in ", *slice.file, "; the file is damaged"));
  }
  slice.verified = true;
}

Checkpoint::Checkpoint(FileLayer& files, const std::string& path) : impl_(std::make_unique<Impl>()) {
  impl_->path = path;
  impl_->read_manifest(files);
}

Checkpoint::~Checkpoint() = default;
Checkpoint::Checkpoint(Checkpoint&&) noexcept = default;

const std::string& Checkpoint::path() const {
  return impl_->path;
}
const Json& Checkpoint::manifest() const {
  return impl_->head;
}
std::int64_t Checkpoint::step() const {
  return impl_->step;
}
std::int64_t Checkpoint::tokens() const {
  return impl_->tokens;
}
const std::map<std::string, Checkpoint::TensorInfo>& Checkpoint::tensors() const {
  return impl_->tensors;
}

void Checkpoint::read(const std::string& name, const Shape& begin, const Shape& end, void* out) const {
  const auto found = impl_->tensors.find(name);
  if (found == impl_->tensors.end()) {
    fail("checkpoint", concat("required tensor ", name, ", found none of that name in ", path()));
  }
  const TensorInfo& info = found->second;
  const Rectangle wanted{begin, end};
  check_inside(info.shape, wanted, concat("tensor ", name, " of ", path()));
  for (Slice& slice : impl_->slices[name]) {
    if (!wanted.overlaps(slice.rectangle)) continue;
    Impl::verify_slice(name, slice);
    copy_overlap(slice, wanted, dtype_size(info.dtype), static_cast<unsigned char*>(out));
  }
}

void Checkpoint::verify() const {
  for (auto& [name, slices] : impl_->slices) {
    for (Slice& slice : slices) Impl::verify_slice(name, slice);
  }
}

std::unique_ptr<Checkpoint> open_newest(FileLayer& files, const std::string& directory,
                                        const std::function<void(const std::string&)>& report) {
  for (const std::string& path : list_checkpoints(files, directory)) {
    try {
      auto checkpoint = std::make_unique<Checkpoint>(files, path);
      checkpoint->verify();
      if (is_superseded(path)) {
        report(concat("checkpoint ", path,
                      ", set aside when the run went back behind it, is the only one that verifies", " and is used"));
      }
      return checkpoint;
    } catch (const Error& error) {
      report(concat("checkpoint ", path, " is damaged and passed over: ", error.what()));
    }
  }
  return nullptr;
}

}  // namespace artel
