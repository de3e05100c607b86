// Packed weights, kept once for all ops, and all plans of a model, that use equal ones.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <unordered_map>
#include <vector>

namespace reconv {

// Memory that starts on a cache line: a vector of weights then never lies across two.
template <class T>
struct LineAllocator {
    using value_type = T;
    LineAllocator() = default;
    template <class U>
    LineAllocator(const LineAllocator<U>&) {}
    T* allocate(size_t count) { return static_cast<T*>(::operator new(count * sizeof(T), std::align_val_t{64})); }
    void deallocate(T* p, size_t) { ::operator delete(p, std::align_val_t{64}); }
    bool operator==(const LineAllocator&) const { return true; }
};

using Lines = std::vector<float, LineAllocator<float>>;

struct Packed {
    Lines values;
    uint64_t hash = 0;

    int64_t bytes() const { return static_cast<int64_t>(values.size() * sizeof(float)); }
};

// Finds packed weights by content. It owns none of them: they go with the last op that uses them. Of ops whose weights are
// equal bit for bit, and packed alike, all get the same. May be used by several threads.
class WeightStore {
public:
    std::shared_ptr<const Packed> keep(Lines values);
    int64_t bytes() const;  // of all weights that are in use

private:
    mutable std::mutex mutex_;
    std::unordered_multimap<uint64_t, std::weak_ptr<const Packed>> known_;
};

}  // namespace reconv
