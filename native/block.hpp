// A state's block of memory: zeros, aligned, given back to the system as soon as the state goes.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace reconv {

class Block {
public:
    explicit Block(size_t bytes);  // throws std::bad_alloc
    ~Block();
    Block(const Block&) = delete;
    Block& operator=(const Block&) = delete;

    float* floats() const { return floats_; }

private:
    float* floats_ = nullptr;
    size_t mapped_ = 0;  // bytes; 0: from the heap
};

// Writes a word over and over. A word of codes may look like any float; none is computed with.
inline void fill_words(float* first, float* last, uint32_t word) { std::fill(first, last, std::bit_cast<float>(word)); }

}  // namespace reconv
