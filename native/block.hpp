// A state's block of memory: zeros, aligned, given back to the system as soon as the state goes.
#pragma once

#include <cstddef>

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

}  // namespace reconv
