// How far the channels of the maps under cutoff deviate on a dense frame: what a tolerance is measured in.
#include <algorithm>
#include <cmath>

#include "state.hpp"

namespace reconv {
namespace {

struct Sums {
    std::vector<double> sum, square;  // by channel
};

// Sums of the values of a map, and of their squares, measured from `from`.
template <class T>
void add_up(Sums& sums, const Memory& memory, int id, const double* from) {
    const Map& m = memory.map(id);
    const int depth = m.depth();
    for (int y = 0; y < m.height; y++)
        for (int x = 0; x < m.width; x++) {
            const T* p = reinterpret_cast<const T*>(memory.pixel(id, y, x));
            for (int c = 0; c < depth; c++) {
                const double v = static_cast<double>(p[c]) - from[c];
                sums.sum[c] += v;
                sums.square[c] += v * v;
            }
        }
}

}  // namespace

// sigma of every channel of every cut map: max(its standard deviation, 0.05 RMS of the map's deviations); a map of fewer
// than 16 pixels uses the RMS of its values. Of a map of codes it is in codes. False: the frame says nothing about the scale
// of the maps (black, constant, not finite), the next step is dense again.
bool State::estimate() {
    bool usable = true;
    int pictures = 0, constant = 0;  // inputs large enough to have a deviation, and those without one
    Sums sums;
    std::vector<double> from;
    for (int id : plan_->cut_maps()) {
        const Map& m = memory_.map(id);
        Cut& cut = cuts_[id];
        const int depth = m.depth();
        const double pixels = static_cast<double>(m.height) * m.width;
        // measured from the first pixel, a constant channel's variance is zero, not noise
        const float* first = memory_.pixel(id, 0, 0);
        const auto* codes = reinterpret_cast<const uint8_t*>(first);
        from.assign(depth, m.codes ? plan_->roots()[m.root].fill & 0xff : 0.0);
        for (int c = 0; c < depth && pixels >= 16; c++) from[c] = m.codes ? codes[c] : first[c];
        sums.sum.assign(depth, 0.0);
        sums.square.assign(depth, 0.0);
        (m.codes ? add_up<uint8_t> : add_up<float>)(sums, memory_, id, from.data());
        double mean_square = 0.0;
        for (int c = 0; c < depth; c++) {
            const double mean = sums.sum[c] / pixels, power = sums.square[c] / pixels;
            sums.square[c] = pixels < 16 ? power : std::max(power - mean * mean, 0.0);
            mean_square += sums.square[c] / depth;
        }
        const double rms = std::sqrt(mean_square);
        const bool is_input = std::any_of(plan_->inputs().begin(), plan_->inputs().end(),
                                          [id](const Border& b) { return b.map == id; });
        if (!std::isfinite(rms)) usable = false;
        if (is_input && pixels >= 16) {
            pictures++;
            constant += rms < 1e-12;
        }
        for (int c = 0; c < depth; c++) {
            const double deviation = pixels < 16 ? rms : std::max(std::sqrt(sums.square[c]), 0.05 * rms);
            cut.deviation[c] = static_cast<float>(std::max(deviation, 1e-12));
            if (!cut.fixed)
                weights_[cut.index + c] = static_cast<float>(1.0 / (depth * static_cast<double>(cut.deviation[c]) * cut.deviation[c]));
        }
    }
    return usable && (pictures == 0 || constant < pictures);
}

}  // namespace reconv
