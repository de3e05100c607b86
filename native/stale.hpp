// Stale sets: one bit per pixel of a map, rows starting on word boundaries, and how they spread through windows.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace reconv {

// A view of a stale set; the words belong to a state.
struct Bits {
    uint64_t* words = nullptr;
    int height = 0, width = 0, row_words = 0;

    uint64_t* row(int y) const { return words + static_cast<int64_t>(y) * row_words; }
    bool test(int y, int x) const { return row(y)[x >> 6] >> (x & 63) & 1; }
    void set(int y, int x) const { row(y)[x >> 6] |= uint64_t{1} << (x & 63); }
    void clear() const;
    void fill() const;
    bool any() const;
    int64_t count() const;
    void unite(const Bits& other) const;  // same size
};

inline int words_for(int width) { return (width + 63) / 64; }

struct Window {
    int kernel_y = 1, kernel_x = 1, stride_y = 1, stride_x = 1, pad_y = 0, pad_x = 0, dilation_y = 1, dilation_x = 1;

    bool pointwise() const { return kernel_y == 1 && kernel_x == 1 && stride_y == 1 && stride_x == 1 && pad_y == 0 && pad_x == 0; }
};

// out |= the pixels whose window touches a stale pixel of in. `row` is scratch of at least 3 * in.row_words + 3 words.
void spread(const Bits& in, const Bits& out, const Window& window, std::span<uint64_t> row);

// out |= the pixels (y, x) that read rows y0[y], y1[y] and columns x0[x], x1[x] of in where one of the four is stale.
struct Taps {
    std::vector<int> y0, y1, x0, x1;
};
void spread(const Bits& in, const Bits& out, const Taps& taps, std::span<uint64_t> row);

// A horizontal run of pixels: row y, columns [x0, x1); of a list, `before` pixels are in the runs ahead of it.
struct Run {
    int y, x0, x1;
    int64_t before = 0;
};

// Appends the runs of the rows [first, last) in row-major order and returns the number of their pixels. `runs` should have
// room for them: a row has at most (width + 1) / 2.
int64_t collect_runs(const Bits& bits, int first, int last, std::vector<Run>& runs);

}  // namespace reconv
