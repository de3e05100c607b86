// A map: pixels in rows, channels contiguous, with a pixel stride so that a map can be a part of a wider one.
//
// A map of codes holds unsigned 8-bit codes instead of floats, real = (code - zero) * scale, four codes in the place of a
// float (a word), in memory order. The codes that fill a pixel's last word up may be anything.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace reconv {

// What lies around a map, so that windows may reach over its border without a test. The gap between two rows serves as the
// right border of the upper and the left border of the lower one.
struct Halo {
    int top = 0, bottom = 0, side = 0;
    bool any() const { return top > 0 || bottom > 0 || side > 0; }
};

// One piece of memory, holding a map and all views of it.
struct Root {
    int height, width, channels;
    Halo halo;
    bool in_streams = true, in_dense = true;  // false: its producer is absorbed by its reader, it is never stored
    bool halo_allowed = true;    // false once a view of it scatters or flattens its pixels
    uint32_t fill = 0;           // what the halo holds: zeros, or words of four zero points
    int64_t row_stride = 0, origin = 0, floats = 0;  // origin: of pixel (0, 0)
    int64_t stream_offset = 0;                       // of the root in a stream's memory, floats
};

enum class View { whole, channels, part, phase, pixels };

struct Map {
    int height, width, channels;                          // channels: floats, or words of codes, of a pixel
    int codes = 0;                                        // of a pixel; 0: a map of floats
    View view = View::whole;
    int root = 0, parent = -1;
    int first = 0;                                        // float or word (channels, part) or pixel (pixels)
    int stride_y = 1, stride_x = 1, phase_y = 0, phase_x = 0;  // phase
    bool produced = false;
    int stale = 0;                                        // index of its stale set; read views share their parent's
    int64_t offset = 0, row_stride = 0, pixel_stride = 0;  // floats from the root's first float; fixed by seal()

    // Where it lies in the memory of its parent, a map of the same root; a whole map lies at its root's origin.
    void lay_out(const Root& r, const Map* of) {
        offset = of ? of->offset : r.origin, row_stride = of ? of->row_stride : r.row_stride;
        pixel_stride = of ? of->pixel_stride : r.channels;
        if (view == View::channels || view == View::part) offset += first;
        if (view == View::phase) {
            offset += phase_y * row_stride + phase_x * pixel_stride;
            row_stride *= stride_y, pixel_stride *= stride_x;
        }
        if (view == View::pixels) {
            offset += first * pixel_stride;
            row_stride = width * pixel_stride;
        }
    }
    int64_t at(int y, int x) const { return offset + y * row_stride + x * pixel_stride; }
    bool same_pixels(const Map& o) const { return height == o.height && width == o.width; }
    bool same_size(const Map& o) const { return same_pixels(o) && channels == o.channels && codes == o.codes; }
    int depth() const { return codes ? codes : channels; }  // values of a pixel
};

constexpr int words_of(int codes) { return (codes + 3) / 4; }

// "(height, width, channels)", with a word where they are codes
std::string size_of(const Map& m);

}  // namespace reconv
