#include "block.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace reconv {
namespace {

constexpr size_t kLarge = size_t{2} << 20;  // a large page, where the system grants them

}  // namespace

Block::Block(size_t bytes) {
    bytes = (std::max<size_t>(bytes, 64) + 63) / 64 * 64;
#if defined(__linux__)
    if (bytes >= kLarge) {
        // Not from the heap: what is resident is exactly what is asked for, no page more at either end, and pages that a
        // run never touches cost nothing.
        const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
        mapped_ = (bytes + page - 1) / page * page;
        void* raw = mmap(nullptr, mapped_ + kLarge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (raw == MAP_FAILED) throw std::bad_alloc();
        char* const from = static_cast<char*>(raw);
        const size_t before = (kLarge - reinterpret_cast<uintptr_t>(raw) % kLarge) % kLarge, after = kLarge - before;
        if (before) munmap(from, before);
        if (after) munmap(from + before + mapped_, after);
        floats_ = reinterpret_cast<float*>(from + before);
#if defined(MADV_HUGEPAGE)
        madvise(floats_, bytes / kLarge * kLarge, MADV_HUGEPAGE);
#endif
        return;
    }
#endif
    floats_ = static_cast<float*>(std::aligned_alloc(64, bytes));
    if (!floats_) throw std::bad_alloc();
    std::memset(floats_, 0, bytes);
}

Block::~Block() {
#if defined(__linux__)
    if (mapped_) {
        munmap(floats_, mapped_);
        return;
    }
#endif
    std::free(floats_);
}

}  // namespace reconv
