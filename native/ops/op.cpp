#include "op.hpp"

#include <algorithm>

namespace reconv {

int Op::spread_words(const std::vector<Map>& maps) const {
    int words = 0;
    for (int in : inputs) words = std::max(words, words_for(maps[in].width));
    return words;
}

Rows Op::rows(int input, int y, const std::vector<Map>& maps) const {
    return maps[inputs[input]].height == 1 ? Rows{0, 1} : Rows{y, y + 1};
}

Rows window_rows(const Window& w, int y) {
    const int first = y * w.stride_y - w.pad_y;
    return {first, first + (w.kernel_y - 1) * w.dilation_y + 1};
}

int window_words(const Window& window, const Map& in, const Map& out) {
    const int n = words_for(in.width);
    return n + std::max(n, words_for(out.width * window.stride_x)) + 2;
}

void spread_same(std::span<const Bits> stale, const Bits& todo, std::span<const int>) {
    for (const Bits& in : stale) {
        if (in.height == todo.height && in.width == todo.width) {
            todo.unite(in);
            continue;
        }
        // an input that is broadcast along rows, columns or both
        for (int y = 0; y < todo.height; y++) {
            const int from = in.height == 1 ? 0 : y;
            for (int x = 0; x < todo.width; x++)
                if (in.test(from, in.width == 1 ? 0 : x)) todo.set(y, x);
        }
    }
}

}  // namespace reconv
