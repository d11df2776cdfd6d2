// The one place that knows oneDNN (2.x and 3.x).
#include <omp.h>

#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

#include <dnnl.hpp>

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/rows/packing.h"
#include "util/error.h"

namespace artel::cpu {
namespace {

using Desc = dnnl::memory::desc;
using Type = dnnl::memory::data_type;

// The memory of a matrix [rows, cols], or of its transpose, with rows `ld` elements apart.
Desc matrix(std::int64_t rows, std::int64_t cols, Type type, Transpose transpose, std::int64_t ld) {
  const bool transposed = transpose == Transpose::yes;
  return Desc({rows, cols}, type, transposed ? dnnl::memory::dims{1, ld} : dnnl::memory::dims{ld, 1});
}

dnnl::matmul::primitive_desc describe(const dnnl::engine& engine, const Desc& a, const Desc& b, const Desc& c,
                                      const dnnl::primitive_attr& attributes, bool allow_empty) {
#if DNNL_VERSION_MAJOR >= 3
  return {engine, a, b, c, attributes, allow_empty};
#else
  return {dnnl::matmul::desc(a, b, c), attributes, engine, allow_empty};
#endif
}

std::int64_t floats(std::size_t bytes) {
  return static_cast<std::int64_t>((bytes + sizeof(float) - 1) / sizeof(float));
}

// The columns of a block where the library's form of B [k, n] is that of PackingRows, which write it several times
// as fast as the library's own reorder; else 0.
std::int64_t packed_block(const Desc& b) {
#if DNNL_VERSION_MAJOR >= 3
  if (b.get_format_kind() != dnnl::memory::format_kind::blocked) return 0;
  const dnnl::memory::dims strides = b.get_strides();
  const dnnl::memory::dims sizes = b.get_inner_blks();
  const dnnl::memory::dims dims = b.get_inner_idxs();
  const dnnl::memory::dims padded = b.get_padded_dims();
  const std::size_t num = sizes.size();
#else
  if (b.data.format_kind != dnnl_blocked) return 0;
  const auto& strides = b.data.format_desc.blocking.strides;
  const auto& sizes = b.data.format_desc.blocking.inner_blks;
  const auto& dims = b.data.format_desc.blocking.inner_idxs;
  const auto& padded = b.data.padded_dims;
  const auto num = static_cast<std::size_t>(b.data.format_desc.blocking.inner_nblks);
#endif
  if (num != 3 || dims[0] != 0 || dims[1] != 1 || dims[2] != 0) return 0;
  if (2 * sizes[0] != PackingRows::block_k || sizes[1] % 16 != 0 || sizes[2] != 2) return 0;
  const std::int64_t size = PackingRows::block_k * sizes[1];  // of a block
  const bool in_order = strides[0] == size && strides[1] == padded[0] / PackingRows::block_k * size;
  return in_order && padded[0] % PackingRows::block_k == 0 ? sizes[1] : 0;
}

dnnl::memory memory_at(const Desc& desc, const dnnl::engine& engine, const void* data) {
  return {desc, engine, const_cast<void*>(data)};
}

// oneDNN also "supports" bf16 on processors without such products, by converting inside or by plain loops. Its own
// limit on instruction sets (ONEDNN_MAX_CPU_ISA) counts as the processor's.
bool isa_multiplies_bf16() {
#if defined(__x86_64__)
  const auto wanted = static_cast<unsigned>(dnnl::cpu_isa::avx512_core_bf16);  // a set of bits, as are those above it
  return (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & wanted) == wanted;
#else
  return true;
#endif
}

}  // namespace

class Bf16Product {
 public:
  Bf16Product(const dnnl::engine& on, const Bf16Shape& shape, std::size_t num_workers)
      : tile(shape.tile), engine(on), calls(num_workers) {
    const GemmTile& t = tile;
    dnnl::primitive_attr attributes;
    // The library's own scratch memory belongs to the thread that made the primitive: bring ours.
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    if (t.accumulate) {
      dnnl::post_ops sum;
      sum.append_sum(1.0F);
      attributes.set_post_ops(sum);
    }
    plain_b = matrix(t.k, t.n, Type::bf16, t.transpose_b, t.ldb);
    const Desc any_b({t.k, t.n}, Type::bf16, dnnl::memory::format_tag::any);
    const Type c_type = shape.c_type == DType::bf16 ? Type::bf16 : Type::f32;
    description = describe(engine, matrix(t.m, t.k, Type::bf16, t.transpose_a, t.lda), shape.pack_b ? any_b : plain_b,
                           matrix(t.m, t.n, c_type, Transpose::no, t.ldc), attributes, true);
    if (!description) return;
    a = description.src_desc();
    b = description.weights_desc();
    c = description.dst_desc();
    workspace = description.scratchpad_desc();
    product = dnnl::matmul(description);
    if (shape.pack_b) {
      dnnl::primitive_attr packing_attributes;
      packing_attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
      const dnnl::reorder::primitive_desc packing_description(engine, plain_b, engine, b, packing_attributes);
      packing_workspace = packing_description.scratchpad_desc();
      packing = dnnl::reorder(packing_description);
      block = packed_block(b);
    }
  }

  // Small products would take a quarter of their time to make the library's objects: every worker keeps those of a
  // call. A packed B is not among them, because version 2 writes to its padding whenever it is set.
  struct Call {
    explicit Call(const Bf16Product& of)
        : stream(of.engine),
          a(of.a, of.engine, nullptr),
          b(of.b, of.engine, nullptr),
          c(of.c, of.engine, nullptr),
          workspace(of.workspace, of.engine, nullptr) {}

    dnnl::stream stream;
    dnnl::memory a, b, c, workspace;
  };

  void run(const bf16* x, const void* y, void* result, const GemmWorker& worker) const {
    std::unique_ptr<Call>& call = calls.at(static_cast<std::size_t>(worker.index));
    if (call == nullptr) call = std::make_unique<Call>(*this);
    call->a.set_data_handle(const_cast<bf16*>(x));
    call->c.set_data_handle(result);
    call->workspace.set_data_handle(worker.workspace);
    dnnl::memory packed;
    if (packing) {
      packed = memory_at(b, engine, y);
    } else {
      call->b.set_data_handle(const_cast<void*>(y));
    }
    const std::array<dnnl_exec_arg_t, 4> arguments = {{{DNNL_ARG_SRC, call->a.get()},
                                                       {DNNL_ARG_WEIGHTS, packing ? packed.get() : call->b.get()},
                                                       {DNNL_ARG_DST, call->c.get()},
                                                       {DNNL_ARG_SCRATCHPAD, call->workspace.get()}}};
    dnnl::error::wrap_c_api(
        dnnl_primitive_execute(product.get(), call->stream.get(), static_cast<int>(arguments.size()), arguments.data()),
        "a product of bf16 matrices failed");
    call->stream.wait();
  }

  // False where oneDNN has no implementation but its plain loops.
  bool usable() const {
    return description && std::string_view(description.impl_info_str()).find("ref") == std::string_view::npos;
  }

  GemmTile tile;
  std::int64_t block = 0;  // see packed_block
  dnnl::engine engine;
  dnnl::matmul::primitive_desc description;
  dnnl::matmul product;
  dnnl::reorder packing;
  Desc a, plain_b, b, c, workspace, packing_workspace;
  mutable std::vector<std::unique_ptr<Call>> calls;  // by worker
};

struct Gemm::Impl {
  std::size_t num_workers = 1;
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  bool native_bf16 = false;
  std::shared_mutex mutex;
  std::map<Bf16Shape, std::unique_ptr<Bf16Product>> products;  // never removed; null: none to be had
};

namespace {

// Two small products in the forms that the kernels use, against f32: packed B with a bf16 result that is added to, and
// transposed A with an f32 result. The operands are small whole numbers, so every sum is exact.
bool native_products_are_right(const Gemm& gemm) {
  const std::int64_t m = 64, n = 48, k = 64;
  std::vector<bf16> a(static_cast<std::size_t>(m * k)), b(static_cast<std::size_t>(n * k));
  std::vector<float> a_f32(a.size()), b_f32(b.size());
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = to_bf16(a_f32[i] = static_cast<float>(i % 5) - 2.0F);
  for (std::size_t i = 0; i < b.size(); ++i) b[i] = to_bf16(b_f32[i] = static_cast<float>(i % 3) - 1.0F);
  for (const bool packed : {true, false}) {
    Bf16Shape shape;
    shape.tile = {.m = m, .n = n, .k = k, .lda = k, .ldb = n, .ldc = n, .accumulate = true};
    if (packed) {
      shape.tile.transpose_b = Transpose::yes;
      shape.tile.ldb = k;
      shape.c_type = DType::bf16;
    } else {
      shape.tile.transpose_a = Transpose::yes;
      shape.tile.lda = m;
    }
    shape.pack_b = packed;
    std::vector<float> required(static_cast<std::size_t>(m * n), 3.0F), found(required);
    std::vector<bf16> found_bf16(required.size(), to_bf16(3.0F));
    gemm.multiply(shape.tile, a_f32.data(), b_f32.data(), required.data());
    try {
      const Bf16Product* product = gemm.prepare(shape);
      if (product == nullptr) return false;
      std::vector<float> packed_b(static_cast<std::size_t>(Gemm::packed_floats(*product)));
      std::vector<float> workspace(static_cast<std::size_t>(Gemm::workspace_floats(*product)));
      for (std::int64_t part = 0; packed && part < Gemm::num_packing_parts(*product); ++part) {
        gemm.pack(*product, detect_isa(), b.data(), packed_b.data(), part, {0, workspace.data()});
      }
      const void* right = packed ? static_cast<const void*>(packed_b.data()) : b.data();
      void* result = packed ? static_cast<void*>(found_bf16.data()) : found.data();
      gemm.multiply(*product, a.data(), right, result, {0, workspace.data()});
    } catch (const std::exception&) {
      return false;
    }
    for (std::size_t i = 0; i < required.size(); ++i) {
      const float value = packed ? to_float(found_bf16[i]) : found[i];
      if (value != (packed ? to_float(to_bf16(required[i])) : required[i])) return false;
    }
  }
  return true;
}

}  // namespace

Gemm::Gemm(int num_workers) : impl_(std::make_unique<Impl>()) {
  impl_->num_workers = static_cast<std::size_t>(num_workers);
  prepare_thread();
  impl_->native_bf16 = isa_multiplies_bf16() && native_products_are_right(*this);
}

Gemm::~Gemm() = default;

void Gemm::prepare_thread() {
  omp_set_num_threads(1);
}

bool Gemm::has_native_bf16() const {
  return impl_->native_bf16;
}

void Gemm::multiply(const GemmTile& t, const float* a, const float* b, float* c) const {
  const auto letter = [](Transpose transpose) { return transpose == Transpose::yes ? 'T' : 'N'; };
  if (t.k == 0) {  // not a case for every version of the library
    for (std::int64_t i = 0; i < t.m && !t.accumulate; ++i) std::fill_n(c + i * t.ldc, t.n, 0.0F);
    return;
  }
  if (t.m == 0 || t.n == 0) return;
  const dnnl::status status = dnnl::sgemm(letter(t.transpose_a), letter(t.transpose_b), t.m, t.n, t.k, 1.0F, a, t.lda,
                                          b, t.ldb, t.accumulate ? 1.0F : 0.0F, c, t.ldc);
  if (status != dnnl::status::success) {
    fail("gemm", "required a product [" + std::to_string(t.m) + ", " + std::to_string(t.k) + "] x [" +
                     std::to_string(t.k) + ", " + std::to_string(t.n) + "], found oneDNN status " +
                     std::to_string(static_cast<int>(status)));
  }
}

const Bf16Product* Gemm::prepare(const Bf16Shape& shape) const {
  {
    const std::shared_lock lock(impl_->mutex);
    const auto found = impl_->products.find(shape);
    if (found != impl_->products.end()) return found->second.get();
  }
  prepare_thread();  // a primitive made for several threads and run on one gives wrong numbers
  auto made = std::make_unique<Bf16Product>(impl_->engine, shape, impl_->num_workers);
  if (!made->usable()) made.reset();
  const std::unique_lock lock(impl_->mutex);
  return impl_->products.try_emplace(shape, std::move(made)).first->second.get();
}

std::int64_t Gemm::num_prepared() const {
  const std::shared_lock lock(impl_->mutex);
  return static_cast<std::int64_t>(impl_->products.size());
}

bool Gemm::same_packed_form(const Bf16Product& a, const Bf16Product& b) {
  return a.b == b.b;
}

std::int64_t Gemm::packed_floats(const Bf16Product& product) {
  return floats(product.b.get_size());
}

std::int64_t Gemm::workspace_floats(const Bf16Product& product) {
  return floats(std::max(product.workspace.get_size(), product.packing_workspace.get_size()));
}

std::int64_t Gemm::num_packing_parts(const Bf16Product& product) {
  return product.block == 0 ? 1 : (product.tile.n + product.block - 1) / product.block;
}

void Gemm::pack(const Bf16Product& product, Isa isa, const bf16* b, float* packed, std::int64_t part,
                const GemmWorker& worker) const {
  if (product.block != 0) {
    const GemmTile& t = product.tile;
    packing_rows(isa).pack(b, t.ldb, t.transpose_b == Transpose::yes, t.k, t.n, product.block, part, part + 1,
                           reinterpret_cast<bf16*>(packed));
    return;
  }
  dnnl::stream stream(product.engine);
  product.packing.execute(
      stream, {{DNNL_ARG_FROM, memory_at(product.plain_b, product.engine, b)},
               {DNNL_ARG_TO, memory_at(product.b, product.engine, packed)},
               {DNNL_ARG_SCRATCHPAD, memory_at(product.packing_workspace, product.engine, worker.workspace)}});
  stream.wait();
}

void Gemm::multiply(const Bf16Product& product, const bf16* a, const void* b, void* c, const GemmWorker& worker) const {
  product.run(a, b, c, worker);
}

}  // namespace artel::cpu
